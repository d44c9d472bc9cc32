"""A tree of four hosts: everybody reaches everybody, and the third host serves a page to the first."""

from hawser.labs import Lab, tree


def main() -> None:
    with Lab(tree(depth=2, fanout=2)) as lab:
        report = lab.pingall()
        print(f"{report.received} of {report.sent} pings came back")
        server = lab.host("h3").popen(["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"])
        try:
            fetch = "for i in 1 2 3 4 5; do busybox wget -q -O - http://10.0.0.3/hostname && break; sleep 0.1; done"
            print("h1 reads from h3:", lab.host("h1").cmd(fetch).strip())
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

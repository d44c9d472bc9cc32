"""Whom a cluster trusts: a CA by the hash of its key."""

import hashlib
import subprocess

import pytest

from hawser.store import Denied, Invalid
from hawser.store.cluster import certificates, pem
from hawser.store.cluster.certificates import Subject

NOW = 1_800_000_000.0
OLD = certificates.new_authority("c1", now=NOW, serial=1)
NEW = certificates.new_authority("c1", now=NOW, serial=2)
M1 = Subject(cluster="c1", machine="m1")
CSR = certificates.request(certificates.new_key(), M1)
BY_OLD = certificates.issue(OLD, CSR, M1, now=NOW, serial=1)
BY_NEW = certificates.issue(NEW, CSR, M1, now=NOW, serial=1)


def test_the_hash_is_of_the_public_key_as_kubeadm_prints_it() -> None:
    line = ["openssl", "x509", "-pubkey", "-noout"]
    public = subprocess.run(line, input=OLD.certificate, capture_output=True, check=True).stdout
    line = ["openssl", "pkey", "-pubin", "-outform", "der"]
    der = subprocess.run(line, input=public, capture_output=True, check=True).stdout
    assert pem.key_hash(OLD.certificate) == f"sha256:{hashlib.sha256(der).hexdigest()}"


def test_a_request_and_its_certificate_have_one_key() -> None:
    assert pem.key_hash(CSR) == pem.key_hash(BY_OLD) == pem.key_hash(BY_NEW)


def test_a_bundle_has_each_ca_once_and_nothing_else() -> None:
    assert pem.split(pem.join([OLD.certificate, NEW.certificate, OLD.certificate])) == (
        OLD.certificate,
        NEW.certificate,
    )
    with pytest.raises(Invalid, match="not a CA's"):
        pem.join([OLD.certificate, BY_OLD])
    with pytest.raises(Invalid, match="at least one"):
        pem.join([])


def test_a_stranger_is_believed_by_the_hash_alone() -> None:
    sent = BY_NEW + OLD.certificate + NEW.certificate
    assert pem.pinned(sent, pem.key_hash(NEW.certificate), now=NOW) == NEW.certificate
    with pytest.raises(Denied, match="its CA has another hash"):
        pem.pinned(BY_NEW + OLD.certificate, pem.key_hash(NEW.certificate), now=NOW)
    with pytest.raises(Denied, match="compare the clocks"):
        pem.pinned(sent, pem.key_hash(NEW.certificate), now=NOW - 1e6)
    with pytest.raises(Invalid, match="not a CA's"):
        pem.pinned(sent, pem.key_hash(BY_NEW), now=NOW)

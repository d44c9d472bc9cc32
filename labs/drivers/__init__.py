"""The labs' doors to the kernel."""

"""The peer process and its command line: the only package with sockets, clocks, threads and subprocesses."""

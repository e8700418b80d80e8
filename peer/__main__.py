"""``python -m peer`` is the ``peer`` command."""

from peer.cli.main import main

main()

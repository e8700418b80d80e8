"""`peer` whose run record has a fixed time.

Message ids, and so what clients draw from their generators, follow from the run record: two runs from one seed have
equal models only if these are equal, with their times.
"""

from peer.cli.main import main
from protocol.roles.leader import app_process
from protocol.roles.leader.run_plan import run_body

TIME = 1_700_000_000.0

app_process.run_body = lambda *plan, **given: run_body(*plan, **given | {"now": TIME})
main()

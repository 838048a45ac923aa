"""Started by root: every program as its own user, confined to the run directory, without a way to new privileges."""

import os
import pathlib

import pytest
from support import sink, suite as suites

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give every program a user of its own")

USERS = {"smtpd": 64101, "auth": 64102, "qmgr": 64103, "dkim-signer": 64104, "smtp-out": 64105, "bounce": 64106}
GROUPS = {"inject_group": 64110, "suppression_group": 64111}
LOGIN = ("app@sender.test", "a pass word")


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
def relay(world):
    world.inbox, world.home = world.sink("example.test"), world.sink("sender.test")
    changes = {f"{role.replace('-', '_')}_user": uid for role, uid in USERS.items()}
    # LeakSanitizer cannot look at a process that changed its user.
    relay = world.suite({"posthouse.conf": {**changes, **GROUPS, "separate_users": "yes"}},
                        sanitizer_options=":detect_leaks=0")
    relay.folder.chmod(0o755)
    for path in (relay.config, *relay.config.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    relay.ctl("dkim", "generate", "sender.test")
    relay.start()
    relay.user(*LOGIN)
    relay.inbox, relay.home = world.inbox, world.home
    return relay


def test_every_program_is_confined(relay):
    run = (relay.state / "run").resolve()
    for child in relay.children():
        status = status_of(child.pid)
        assert set(status["Uid"].split()) == {str(USERS[child.role])}, child
        assert "0" not in status["Gid"].split() and "0" not in status["Groups"].split(), child
        assert status["NoNewPrivs"].strip() == "1", child
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0, child
        root = os.stat(f"/proc/{child.pid}/root/")
        assert (root.st_dev, root.st_ino) == (run.stat().st_dev, run.stat().st_ino), child
    assert status_of(relay.process.pid)["Uid"].split()[0] == "0"


def test_mail_flows(relay):
    relay.inbox.rules["gone@"] = sink.Rule(rcpt="550 5.1.1 no such user")
    relay.inbox.rules["busy@"] = sink.Rule(rcpt="450 4.2.1 later", times=1)
    relay.submit("ann@example.test", listener="submission", login=LOGIN)
    assert relay.inbox.wait_to("ann@example.test").text.count("DKIM-Signature:") == 2
    relay.submit("busy@example.test")
    relay.inbox.wait_to("busy@example.test", 30)
    queue_id = relay.submit("gone@example.test")
    relay.home.wait_for(lambda m: m.sender == "" and queue_id in m.text, 20)
    with pytest.raises(suites.Refused):
        relay.submit("gone@example.test")
    relay.wait_empty()


def test_programs_see_no_more_than_they_need(relay):
    relay.inbox.rules["*"] = sink.Rule(rcpt="450 4.2.1 later")
    relay.submit("ann@example.test")
    relay.wait_log("status=deferred")

    def owner(path):
        st = path.stat()
        return st.st_uid, oct(st.st_mode & 0o777)

    for path in relay.queue_files():
        assert owner(path)[0] in (USERS["smtpd"], USERS["qmgr"]) and owner(path)[1][-1] == "0", path
    assert owner(relay.state / "auth") == (USERS["auth"], "0o700")
    assert owner(relay.state / "dkim") == (0, "0o700")
    assert owner(relay.state / "suppression")[0] == USERS["bounce"]


def test_killed_programs_come_back_confined(relay):
    for role in suites.PROGRAMS:
        relay.kill(role)
    relay.wait_ready()
    test_every_program_is_confined(relay)
    relay.ctl("reload")
    relay.wait_log("reload complete")
    relay.wait_ready()
    test_mail_flows(relay)

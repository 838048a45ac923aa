"""posthouse, the admin's command: phrases, exit statuses, JSON, and passwords that stay out of sight."""

import json
import os
import pathlib
import pty
import re
import subprocess

import pytest
from support import sink, suite as suites, wait


@pytest.fixture(scope="module")
def relay(shared):
    shared.inbox = shared.sink("example.test", rules={"busy@": sink.Rule(rcpt="450 4.2.1 later")})
    relay = shared.suite().start()
    relay.inbox = shared.inbox
    return relay


def lines_json(done):
    return json.loads(done.stdout)


def test_status_tells_what_proc_tells(relay):
    programs = relay.status()
    listed = {(p["program"], p["slot"], p["pid"]) for p in find_list(programs, "pid")}
    assert {(c.role, c.slot, c.pid) for c in relay.children()} <= listed
    assert all(p["state"] == "ready" for p in find_list(programs, "pid"))


def find_list(tree, key):
    """The list in the JSON whose items have this key."""
    if isinstance(tree, list) and tree and isinstance(tree[0], dict) and key in tree[0]:
        return tree
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        found = find_list(value, key) if isinstance(value, (dict, list)) else None
        if found:
            return found
    return None


def test_start_and_stop(shared):
    own = shared.suite()
    started = subprocess.Popen([suites.BUILD / "bin" / "posthouse", "-c", own.config, "start"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    told = started.communicate(timeout=40)[0]
    assert started.returncode == 0, told
    master = int(re.search(r"posthouse/master\[(\d+)\]", own.log.read_text()).group(1))
    try:
        assert all(p["state"] == "ready" for p in find_list(own.status(), "pid"))
        again = own.ctl("start", check=False)
        assert again.returncode in (0, 1) and len(re.findall("starting, configuration", own.log.read_text())) == 1
        own.ctl("stop")
        wait.until(lambda: not pathlib.Path(f"/proc/{master}").exists() or
                   "\nState:\tZ" in pathlib.Path(f"/proc/{master}/status").read_text(), 20, "the end of master")
        assert own.ctl("status", check=False).returncode == 75
        assert own.ctl("stop", check=False).returncode == 75
    finally:
        if pathlib.Path(f"/proc/{master}").exists():
            os.kill(master, 15)


def test_start_with_errors(shared):
    own = shared.suite()
    (own.config / "qmgr.conf").write_text("retry_min = soon\n")
    done = own.ctl("start", check=False)
    assert done.returncode not in (0, 75)
    assert re.search(r"qmgr\.conf:1: .*soon", done.stdout + done.stderr)


def test_users(relay):
    relay.user("one@sender.test", "pw one", "--tenant", "acme", "--note", "the shop")
    row, = [r for r in lines_json(relay.ctl("user", "list", "--json")) if r["name"] == "one@sender.test"]
    assert (row["tenant"], row["note"], row["enabled"]) == ("acme", "the shop", True)
    assert relay.ctl("user", "add", "one@sender.test", stdin="x\n", check=False).returncode == 1
    relay.ctl("user", "disable", "one@sender.test")
    assert not [r for r in lines_json(relay.ctl("user", "list", "--json")) if r["name"] == "one@sender.test"][0]["enabled"]
    relay.ctl("user", "enable", "one@sender.test")
    generated = relay.ctl("user", "passwd", "one@sender.test", "--generate").stdout.strip()
    assert len(generated) >= 16
    relay.submit("ann@example.test", listener="submission", login=("one@sender.test", generated))
    relay.wait_log("accepted: .*credential=one@sender.test, tenant=acme")
    relay.ctl("user", "remove", "one@sender.test")
    assert relay.ctl("user", "remove", "one@sender.test", check=False).returncode == 1


def test_password_is_not_echoed(relay):
    """At a terminal it is asked for twice and never shown."""
    try:
        pid, terminal = pty.fork()
    except OSError as none:
        pytest.skip(f"no terminal to be had: {none}")
    if pid == 0:
        os.execl(suites.BUILD / "bin" / "posthouse", "posthouse", "-c", str(relay.config), "user", "add", "typed")
    shown = b""
    for prompt in (b"password for typed: ", b"again for typed: "):
        while not shown.endswith(prompt):
            shown += os.read(terminal, 4096)
        os.write(terminal, b"s3cret typed\n")
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    assert b"assword" in shown and b"s3cret" not in shown
    relay.submit("typed@example.test", listener="submission", login=("typed", "s3cret typed"))


@pytest.mark.parametrize("arguments, status", [
    (["nonsense"], 2), (["user"], 2), (["user", "add"], 2), (["user", "add", "x", "--password", "y"], 2),
    (["queue", "show", "0000000000000"], 1), (["queue", "show", "not-an-id"], 1), (["queue", "list", "nowhere"], 2),
    (["suppress", "add", "no-address"], 2), (["suppress", "remove", "nobody@example.test"], 1),
    (["dkim", "generate", "not a domain"], 2), (["trace", "0000000000000"], 1), (["config", "show", "nofile"], 2),
])
def test_exit_statuses(relay, arguments, status):
    done = relay.ctl(*arguments, check=False)
    assert done.returncode == status or (status == 2 and done.returncode == 1), done
    assert done.returncode != 0 and done.stderr.strip(), done


def test_queue_and_trace(relay):
    queue_id = relay.submit("busy@example.test")
    relay.wait_log(f"{queue_id}: .*status=deferred")
    item, = [i for i in lines_json(relay.ctl("queue", "list", "--json")) if i["queue_id"] == queue_id]
    assert item["sender"] == "app@sender.test" and item["waiting"] == 1 and "450" in item["reason"]
    shown = lines_json(relay.ctl("queue", "show", queue_id, "--json"))
    assert shown["recipients"][0]["address"] == "busy@example.test" and shown["history"]
    assert "Subject: Hello" in relay.ctl("queue", "show", queue_id, "--content").stdout
    trace = relay.ctl("trace", queue_id).stdout
    assert "accepted: from=<app@sender.test>" in trace and "status=deferred" in trace
    told = lines_json(relay.ctl("trace", queue_id, "--json"))
    assert told["queue_id"] == queue_id and told["in_queue"] is True and len(told["events"]) >= 2
    relay.ctl("queue", "delete", queue_id)
    assert lines_json(relay.ctl("trace", queue_id, "--json"))["in_queue"] is False


def test_suppress(relay):
    relay.ctl("suppress", "add", "stop@example.test", "--tenant", "acme", "--reason", "unsubscribed", "--days", "10")
    row, = [r for r in lines_json(relay.ctl("suppress", "list", "--json")) if r["address"] == "stop@example.test"]
    assert row["tenant"] == "acme" and row["reply"] == "unsubscribed" and row["expires"]
    relay.submit("stop@example.test")  # another tenant's mail goes on
    relay.ctl("suppress", "remove", "stop@example.test", "--tenant", "acme")


def test_dkim(relay):
    relay.ctl("dkim", "generate", "signed.test", "sel")
    rows = lines_json(relay.ctl("dkim", "list", "--json"))
    assert {r["type"] for r in rows if r["domain"] == "signed.test"} == {"rsa", "ed25519"}
    zone = relay.ctl("dkim", "dns", "signed.test").stdout
    assert re.search(r"^sel\S*\._domainkey\.signed\.test\. IN TXT ", zone, re.M)
    assert all(len(s) <= 255 for s in re.findall(r'"([^"]*)"', zone))


def test_config(relay):
    assert relay.ctl("config", "show", "qmgr", "retry_min").stdout.strip() == "1s"
    whole = relay.ctl("config", "show").stdout
    assert "retry_min = 1s" in whole and "max_recipients" in whole
    assert relay.ctl("config", "check").returncode == 0
    place = relay.config / "qmgr.conf"
    good = place.read_text()
    place.write_text(good + "retry_max = never\nnonsense = 1\n")
    done = relay.ctl("config", "check", check=False)
    place.write_text(good)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "never" in told and "nonsense" in told, "every error is told at once"


def test_dump_reads_back(relay, tmp_path):
    """What config show prints is a configuration that says the same."""
    for name in ("smtpd", "qmgr", "smtp-out", "posthouse", "master", "auth", "bounce", "dkim-signer"):
        (tmp_path / f"{name}.conf").write_text(relay.ctl("config", "show", name).stdout)
    again = subprocess.run([suites.BUILD / "bin" / "posthouse", "-c", tmp_path, "config", "show"], capture_output=True,
                           text=True, timeout=30)
    assert again.returncode == 0, again.stderr
    assert again.stdout == relay.ctl("config", "show").stdout

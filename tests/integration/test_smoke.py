"""One message from an application to the recipient's mail server, through all programs."""

LOGIN = ("app@sender.test", "a pass word")


def test_one_message(world):
    sink = world.sink("example.test")
    suite = world.suite().start()
    suite.user(*LOGIN)
    queue_id = suite.submit("ann@example.test", listener="submission", login=LOGIN)
    arrived = sink.wait_to("ann@example.test")
    assert arrived.sender == "app@sender.test"
    assert arrived.tls.startswith("TLSv1.")
    assert queue_id in arrived.header("Received")
    suite.wait_log(f"{queue_id}: .*status=sent")
    suite.wait_empty()

"""The options of scripts/run; called as a program it only checks them."""

import argparse
import pathlib

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def parse():
    parser = argparse.ArgumentParser(prog="scripts/run",
                                     description="Start Posthouse on this machine, with an internet of its own, and show what it does.")
    parser.add_argument("--state", default=SOURCE / "var", type=pathlib.Path, metavar="DIR", help="state folder (default: var)")
    parser.add_argument("--ports", default="2525,5870,4650", metavar="PLAIN,SUBMISSION,TLS",
                        help="where to listen on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="end after the demonstration")
    options = parser.parse_args()
    ports = options.ports.split(",")
    if len(ports) != 3 or len(set(ports)) != 3 or not all(p.isdecimal() and 0 < int(p) < 65536 for p in ports):
        parser.error("--ports: expected three different port numbers, as in 2525,5870,4650")
    options.ports = [int(p) for p in ports]
    return options


if __name__ == "__main__":
    parse()

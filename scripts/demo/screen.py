"""What the demo says, and how it looks."""

import sys

_COLOUR = sys.stdout.isatty()


def _paint(code, text):
    return f"\033[{code}m{text}\033[0m" if _COLOUR else text


def title(text):
    print(f"\n{_paint('1', text)}\n", flush=True)


def fact(name, text):
    print(f"  {name:<10} {text}", flush=True)


def step(number, text):
    print(f"\n{_paint('1', f'{number}  {text}')}", flush=True)


def note(text):
    print(f"   {text}", flush=True)


def seen(text):
    print(f"   {_paint('32', 'ok')}  {text}", flush=True)


def quote(text):
    """The output of a command, a little to the right."""
    for line in text.rstrip("\n").split("\n"):
        print(_paint("2", f"      {line}"), flush=True)


def failed(text):
    print(f"scripts/run: {text}", file=sys.stderr, flush=True)

"""Configuration files from dicts: {"smtpd.conf": {"certificate": "/…", "listener smtp": {"address": "…"}}}.  A dict as value
is a block; a value of None leaves the parameter out."""


def format_file(parameters):
    out = []
    for name, value in parameters.items():
        if isinstance(value, dict):
            kind, _, title = name.partition(" ")
            out.append(f'{kind} "{title}" {{\n' + "".join(f"    {n} = {v}\n" for n, v in value.items()) + "}\n")
        elif value is not None:
            out.append(f"{name} = {value}\n")
    return "".join(out)


def merge(base, changes):
    """base with changes on top, blocks parameter by parameter."""
    merged = {file: dict(parameters) for file, parameters in base.items()}
    for file, parameters in changes.items():
        place = merged.setdefault(file, {})
        for name, value in parameters.items():
            both = isinstance(value, dict) and isinstance(place.get(name), dict)
            place[name] = {**place[name], **value} if both else value
    return merged


def write(folder, files, head=""):
    folder.mkdir(parents=True, exist_ok=True)
    for file, parameters in files.items():
        (folder / file).write_text(head + format_file(parameters))

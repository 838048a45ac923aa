# Sourced by scripts/run and scripts/test: installs the Debian packages that are missing, and says so.

# The packages of Build-Depends in debian/control, one a line, alternatives apart by "|".
build_depends()
{
    sed -n '/^Build-Depends:/,/^[^ ]/{/^Build-Depends:/{s/^[^:]*://;p};/^ /p}' "$1" | tr ',' '\n' |
        sed -e 's/([^)]*)//g; s/<[^>]*>//g; s/[[:space:]]//g; /^$/d; /^debhelper-compat$/d'
}

is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# missing_of FILE…: prints the packages of debian/control and of these lists that are not there.
missing_of()
{
    local line package command name
    while IFS= read -r line; do
        IFS='|' read -ra names <<<"$line"
        for name in "${names[@]}"; do
            is_installed "$name" && continue 2
        done
        printf '%s\n' "${names[0]}"
    done < <(build_depends debian/control)
    while IFS='=' read -r package command; do
        package=${package//[[:space:]]/} command=${command//[[:space:]]/}
        [ -z "$package" ] && continue
        [ -n "$command" ] && command -v "$command" >/dev/null && continue
        is_installed "$package" || printf '%s\n' "$package"
    done < <(sed 's/#.*//' "$@")
}

# What runs as root: fresh packages must not start a service, nor leave one enabled.
install_as_root='
set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap "rm -f /usr/sbin/policy-rc.d" EXIT
    printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
apt-get -q update
apt-get -q install -y --no-install-recommends "$@" </dev/null
for package; do
    case $package in
    haproxy | nginx | unbound)
        command -v systemctl >/dev/null && systemctl --quiet disable "$package.service" || true
        ;;
    esac
done
'

# install_missing LOG FILE…: 0 = all is there now.
install_missing()
{
    local log=$1 missing as_root=()
    shift
    command -v dpkg-query >/dev/null || {
        echo "This is not a Debian machine (no dpkg-query): install what debian/control and $* name by hand." >&2
        return 1
    }
    mapfile -t missing < <(missing_of "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "Installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "Not root and no sudo here: install these packages first: ${missing[*]}" >&2
            return 1
        }
        # Without a terminal nobody can type a password.
        if [ -t 0 ]; then as_root=(sudo); else as_root=(sudo -n); fi
    fi
    mkdir -p "$(dirname "$log")"
    if ! "${as_root[@]}" sh -c "$install_as_root" sh "${missing[@]}" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "apt-get could not install what is missing; the whole output is in $log" >&2
        return 1
    fi
}

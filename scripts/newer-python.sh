#!/bin/bash
# usage: scripts/newer-python.sh COMMAND [ARG ...]
#
# Runs a command where CPython 3.14 and 3.15 are installed (python3.14, python3.15, gcc, make), for
# machines whose own Debian does not have them yet, e.g.
#
#   scripts/newer-python.sh make test PYTHON=python3.14
#
# It keeps a small Debian unstable in $NEWER_PYTHON_ROOT (default /opt/goroutines-newer), made with
# debootstrap on first use, and enters it with this checkout mounted at its usual path.  The mounts
# live in a mount namespace of their own and vanish with the command.  Needs root; exit status 75
# and one line when it cannot be done here.
set -euo pipefail
root=${NEWER_PYTHON_ROOT:-/opt/goroutines-newer}
packages=gcc,g++,libc6-dev,make,git,ca-certificates
for version in 3.14 3.15; do
    packages+=,python$version,python$version-dev,python$version-venv,libpython$version-testsuite
done
servers=(redis-server postgresql) # for tests/clients
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

cannot() {
    echo "newer-python: not possible here: $*" >&2
    exit 75
}

# The mirror that apt itself uses, so that this works behind a local one.
mirror() {
    apt-get indextargets --format '$(SITE)' 2>/dev/null | grep -m1 '/debian/\?$' ||
        echo http://deb.debian.org/debian
}

make_root() {
    command -v apt-get >/dev/null || cannot "no apt-get, this is no Debian"
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq >/dev/null 2>&1 || true
        apt-get install -y -qq debootstrap >/dev/null 2>&1 || cannot "debootstrap cannot be installed"
    fi
    echo "newer-python: making a Debian unstable root in $root" >&2
    # A half-made root must not be taken for a whole one: it gets its name when it is done.
    rm -rf "$root.part"
    # In a mount namespace of its own: what it mounts does not stay behind where it fails.
    unshare --mount --propagation private \
        debootstrap --variant=minbase "--include=$packages" sid "$root.part" "$(mirror)" \
        >"/tmp/debootstrap.$$.log" 2>&1 ||
        cannot "debootstrap failed: $(tail -1 "/tmp/debootstrap.$$.log")"
    rm -f "/tmp/debootstrap.$$.log"
    (root=$root.part && install_servers) >&2 || echo "newer-python: not installed: ${servers[*]}" >&2
    echo "$packages ${servers[*]}" >"$root.part/packages"
    rm -rf --one-file-system "$root"
    mv -T "$root.part" "$root"
}

# Not by debootstrap: their packages would start them.
install_servers() {
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    share_network_settings
    enter env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${servers[@]}"
}

# Names are resolved, and certificates trusted, as outside.
share_network_settings() {
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then
        mkdir -p "$root/etc/ssl/certs"
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
}

# Of the environment only what means something inside: paths from outside would mislead.
kept_environment() {
    env | grep -E '^(TERM|LANG|GOMAXPROCS|[A-Za-z]*_proxy|[A-Z]*_PROXY|GOROUTINES_\w+|PIP_INDEX_URL)=' ||
        true
}

enter() {
    local -a settings
    mapfile -t settings < <(kept_environment)
    mkdir -p "$root$checkout"
    # Inside the namespace: mounts, then chroot; $0 is the root, $1 the checkout.
    exec unshare --mount --propagation private bash -euc '
        root=$0 checkout=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind "$checkout" "$root$checkout"
        cd /
        exec chroot "$root" "$@"
    ' "$root" "$checkout" env -i HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        PIP_ROOT_USER_ACTION=ignore "${settings[@]}" \
        bash -c 'cd "$0" && exec "$@"' "$checkout" "$@"
}

if [[ $# -lt 1 ]]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
[[ $EUID -eq 0 ]] || cannot "needs root"
unshare --mount true 2>/dev/null || cannot "no private mount namespace is allowed"
ready() { [[ $(cat "$root/packages" 2>/dev/null) == "$packages ${servers[*]}" ]]; }
mkdir -p "$(dirname "$root")"
ready || (flock 9 && { ready || make_root; }) 9>"$root.lock"
share_network_settings
enter "$@"

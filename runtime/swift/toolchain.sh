#!/bin/sh
# A Swift 6 toolchain for a Linux machine whose distribution has none: Debian trixie's package `swiftlang` in a
# folder outside the source tree, with a command `swift` that runs inside it.
#
#   sudo runtime/swift/toolchain.sh        about 600 MB to fetch, 2.7 GB on disk, three to fifteen minutes
#
# Needs root, debootstrap and a Debian mirror: the one this machine's apt is set up with, or EDGE_DEBIAN_MIRROR.
# The folder is EDGE_SWIFT_ROOT, by default ~/.cache/edge-export/swift-6.
set -eu

root=${EDGE_SWIFT_ROOT:-$HOME/.cache/edge-export/swift-6}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

refuse() { echo "toolchain.sh: $1" >&2; exit 2; }

# the first address of apt's sources whose path ends in /debian
configured_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n -e 's/^URIs:[[:space:]]*//p' -e 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' |
        tr ' ' '\n' | sed -n 's,/*$,,; \,/debian$,p' | head -n 1
}

[ -e "$root/ready" ] && { echo "the toolchain is there: $root"; exit 0; }
[ "$(id -u)" = 0 ] || refuse "debootstrap needs root; run it with sudo"
command -v debootstrap >/dev/null || refuse "no debootstrap on this machine; try: sudo apt-get install debootstrap"
mirror=${EDGE_DEBIAN_MIRROR:-$(configured_mirror)}
[ -n "$mirror" ] || refuse "no Debian mirror in apt's sources; name one in EDGE_DEBIAN_MIRROR"

# a folder that an earlier call left half made starts again; one that we did not make is nobody's to delete
marker=$root/made-by-edge-export
if [ -e "$root" ] && [ -n "$(ls -A "$root")" ]; then
    [ -e "$marker" ] || refuse "$root holds other files; name an empty or absent folder in EDGE_SWIFT_ROOT"
    rm -rf "$root"
fi
mkdir -p "$root"
touch "$marker"
set -- --variant=minbase
[ -e "$keyring" ] && set -- "$@" --keyring="$keyring"
debootstrap "$@" trixie "$root/system" "$mirror"

# mounts are made in a namespace of their own, so nothing stays behind whatever ends this script
unshare --mount sh -eu -c '
    mount -t proc proc "$1/proc"
    chroot "$1" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        swiftlang libc6-dev libstdc++-14-dev git
    chroot "$1" apt-get clean
' sh "$root/system"

mkdir -p "$root/bin" "$root/system/tree"
cat >"$root/bin/swift" <<'END'
#!/bin/sh
# `swift` of the folder above, run in the current directory. What it sees of this machine is that directory, or
# the folder in EDGE_TREE, at the same path; mounts live in a namespace that ends with the command.
root=$(cd "$(dirname "$0")/.." && pwd)
exec unshare --mount sh -eu -c '
    system=$1/system tree=$2 here=$3
    shift 3
    mount -t proc proc "$system/proc"
    mount --rbind /dev "$system/dev"
    mkdir -p "$system$tree"
    mount --bind "$tree" "$system$tree"
    exec chroot "$system" env -i HOME=/root PATH=/usr/libexec/swift/bin:/usr/bin:/bin LANG=C.UTF-8 \
        sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$here" swift "$@"
' sh "$root" "${EDGE_TREE:-$PWD}" "$PWD" "$@"
END
chmod +x "$root/bin/swift"
"$root/bin/swift" --version
touch "$root/ready"

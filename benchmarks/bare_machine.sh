#!/usr/bin/env bash
# From an empty Debian to an answer: clone, `make run`, ask it; `make test`; start again offline.
#
#   sudo benchmarks/bare_machine.sh [--no-tests] [FOLDER]
#
# Builds a Debian of this machine's release in FOLDER (default: a new one, removed at the end) with
# nothing added but git, make, python3, python3-venv and ca-certificates, and works there as an
# ordinary user, with pip's cache off. The mirror is the one of this machine's apt, and pip's
# configuration is passed on as it is. Prints times, downloads and memory of this one machine.
# Needs root, debootstrap and util-linux (unshare, runuser). Clones the last commit, nothing newer.
set -euo pipefail

fail() { echo "$*" >&2; exit 1; }

if [[ -z ${BARE_MACHINE_INSIDE:-} ]]; then
    ((EUID == 0)) || fail "Run this as root: it makes a root folder of its own."
    for program in debootstrap unshare runuser git; do
        command -v "$program" > /dev/null || fail "$program is missing: apt install debootstrap util-linux git"
    done
    # Mounts and processes of its own: nothing stays behind, however this ends.
    export BARE_MACHINE_INSIDE=1
    exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

tests=yes
[[ ${1:-} == --no-tests ]] && { tests=no; shift; }
here=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-$(mktemp --directory /var/tmp/quartet-bare.XXXXXX)}
[[ -n ${1:-} ]] || trap 'umount --recursive "$root" 2> /dev/null || true; rm -rf --one-file-system "$root"' EXIT
home=/home/visitor
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

note() { printf '\n== %s\n' "$*"; }
seconds() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", b - a }'; }
now() { date +%s.%N; }

make_root() {
    local suite mirror
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v suite="$suite" '$2 == suite { print $1; exit }')
    [[ -n $mirror ]] || fail "apt on this machine names no mirror of $suite; run apt-get update."
    [[ -e $root/etc/debian_version ]] || debootstrap --variant=minbase \
        --include=git,make,python3,python3-venv,ca-certificates "$suite" "$root" "$mirror" > /dev/null
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    chroot "$root" id visitor > /dev/null 2>&1 || chroot "$root" useradd --create-home visitor
}

pass_on_pip() { # pip's configuration, and the files and folders that it names
    local key value word
    {
        echo '[global]'
        python3 -m pip config list | sed -En "s/^(global|:env:|user|site)\.([a-z-]+)='(.*)'$/\2 \3/p" |
            awk '{ values[$1] = $0 } END { for (key in values) print values[key] }' |
            while read -r key value; do
                printf '%s = %s\n' "$key" "${value//\\n/ }"
                for word in ${value//\\n/ }; do bring "$word"; done
            done
    } > "$root/etc/pip.conf"
    bring "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
}

bring() { # a file is copied, a folder mounted; of a file:// index its folder of files too
    local path=${1#file://}
    [[ $path == /* && -e $path ]] || return 0
    [[ $1 == file://* ]] && path=$(dirname "$path")
    if [[ -d $path ]]; then
        mkdir -p "$root$path"
        mount --bind -o ro "$path" "$root$path"
    else
        install -D --mode=644 "$(readlink -f "$path")" "$root$path"
    fi
}

visitor() { # a command line as the ordinary user, in an environment of four names and the proxies
    local proxies
    mapfile -t proxies < <(env | grep -iE '^(https?|no)_proxy=' || true)
    chroot "$root" runuser --user visitor -- env --ignore-environment HOME="$home" LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin PIP_NO_CACHE_DIR=1 "${proxies[@]}" bash -c "cd $home && $1"
}

probe() { # waits until the portal answers, then asks it; prints what it said
    visitor "python3 - http://127.0.0.1:$port" << 'PYTHON'
import json, os, sys, time, urllib.error, urllib.request

base, until = sys.argv[1], time.monotonic() + 600


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_for(path):
    while time.monotonic() < until and not os.path.exists("/tmp/ended"):
        try:
            if ask(path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit(f"{path} did not answer")


wait_for("/readyz")
documents = ["Salt the soup.", "The tilt of the Earth's axis.", "Tides follow the Moon."]
for _ in range(20):
    status, body = ask("/v1/rerank", {"query": "what causes the seasons", "documents": documents})
    assert status == 200, body
best = json.loads(body)["results"][0]["index"]
said = {"public page": ask("/")[0], "admin, a guest": ask("/admin/")[0], "best document": best}
print("   ", said)
assert list(said.values()) == [200, 401, 1], said
PYTHON
}

portal_pid() { pgrep --full --oldest --uid "$(stat --format %u "$root$home")" 'python app.py' || true; }

open_portal() { # in the background; waits until it answered
    rm -f "$root/tmp/ended"
    { visitor "cd quartet && make run ARGS='--port $port'" || { touch "$root/tmp/ended"; false; }; } > "$root/tmp/run.log" 2>&1 &
    probe || { tail -n 30 "$root/tmp/run.log"; fail "The portal did not answer."; }
    echo "    memory after use: $(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$(portal_pid)/status") MB"
}

close_portal() {
    kill -TERM "$(portal_pid)"
    wait %% && echo "    left with 0 after SIGTERM" || fail "The portal left with $? after SIGTERM."
}

fetched() { # what pip's log says it took: from an index, and from folders of this machine
    awk '/^ *Downloading .*\(.*B\)/ { n = $(NF-1); u = $NF; sub(/\(/, "", n); sub(/\)/, "", u)
             net += n * (u == "GB" ? 1000 : u == "MB" ? 1 : u == "kB" ? 0.001 : 0.000001) }
         END { printf "%.0f", net }' "$1"
    local path local_bytes=0
    for path in $(sed -En 's/^ *Processing (\/[^ ]*).*/\1/p' "$1"); do
        local_bytes=$((local_bytes + $(stat --format %s "$path")))
    done
    echo " MB from an index, $((local_bytes / 1000000)) MB from folders of this machine"
}

note "an empty Debian in $root"
start=$(now); make_root; pass_on_pip
echo "    $(seconds "$start" "$(now)") s"

note "git clone, make run"
git -C "$here" bundle create --quiet "$root/tmp/quartet.bundle" HEAD
start=$(now)
visitor "rm -rf quartet && git -c advice.detachedHead=false clone --quiet /tmp/quartet.bundle quartet"
open_portal
echo "    $(seconds "$start" "$(now)") s from git clone to the answers above"
echo "    pip took $(fetched "$root/tmp/run.log"); .venv is $(du -sm "$root$home/quartet/.venv" | cut -f1) MB"
close_portal

if [[ $tests == yes ]]; then
    note "make test"
    start=$(now)
    visitor "cd quartet && make test" > "$root/tmp/test.log" 2>&1 || { tail -n 60 "$root/tmp/test.log"; fail "make test failed."; }
    grep '^SKIPPED' "$root/tmp/test.log" | sed 's/^/    /' || true
    echo "    $(tail -n 1 "$root/tmp/test.log")"
    echo "    $(seconds "$start" "$(now)") s; pip took $(fetched "$root/tmp/test.log")"
fi

note "make run again, with no network"
offline() {
    start=$(now)
    open_portal
    echo "    $(seconds "$start" "$(now)") s to the answers above"
    ! grep -qi 'pip' "$root/tmp/run.log" || fail "The second start called pip."
    close_portal
}
export -f offline open_portal close_portal portal_pid probe visitor seconds now fail
export root home port
unshare --net bash -euo pipefail -c '
    python3 -c "
import fcntl, socket, struct
with socket.socket() as loop:  # what ip link set lo up does
    fcntl.ioctl(loop, 0x8914, struct.pack(\"16sh14x\", b\"lo\", 0x1 | 0x40))"
    offline'
note "done"

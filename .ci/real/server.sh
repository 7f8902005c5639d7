#!/usr/bin/env bash
# The server beside a real camera server and vsftpd: every kind of stream, losses, kill -9. See server.py.
#   server.sh CAMERA_SCRIPT CLIPS
set -euo pipefail
cd "$(dirname "$0")/../.."
camera="${1:?the camera script}" clips="${2:?the folder of clips}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
[ "$(id -u)" = 0 ] || { echo "server.sh needs root (a user for vsftpd)" >&2; exit 1; }
cargo build --quiet --release -p godvision-server

work="$(mktemp -d "${TMPDIR:-/tmp}/godvision-vsftpd.XXXXXX")"
user="gvsrv$$"
vsftpd_pid=""
cleanup() {
    [ -z "$vsftpd_pid" ] || kill "$vsftpd_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    userdel "$user" 2>/dev/null || true
    rm -rf "/etc/pam.d/$user" "$work"
}
trap cleanup EXIT
chmod 755 "$work"
mkdir -p "$work/home/clips" "$work/empty"
password="word$RANDOM$RANDOM"
useradd --no-create-home --home-dir "$work/home" --shell /bin/sh "$user"
printf '%s:%s\n' "$user" "$password" | chpasswd
chown -R "$user" "$work/home"
printf 'auth required pam_unix.so\naccount required pam_unix.so\n' > "/etc/pam.d/$user"
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
cat > "$work/vsftpd.conf" <<CONF
listen=YES
listen_address=127.0.0.1
listen_port=$port
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
local_umask=022
chroot_local_user=YES
allow_writeable_chroot=YES
pam_service_name=$user
secure_chroot_dir=$work/empty
pasv_address=127.0.0.1
max_per_ip=0
seccomp_sandbox=NO
xferlog_enable=NO
CONF
vsftpd "$work/vsftpd.conf" >"$work/vsftpd.log" 2>&1 &
vsftpd_pid=$!

python3 .ci/real/server.py "$CARGO_TARGET_DIR/release/godvision-server" "$camera" "$clips" \
    "ftp://$user:$password@127.0.0.1:$port/clips" "$work/home/clips" "${@:3}"

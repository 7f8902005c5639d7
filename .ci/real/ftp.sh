#!/usr/bin/env bash
# The FTP archive and the spool against vsftpd and pure-ftpd from Debian, plain and by TLS, on loopback; then the spool
# killed with -9 twenty times in the middle of recording and uploading, with the server killed now and then as well.
# Needs root (a user for the servers, a small file system). Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/godvision-target}"
kills="${GODVISION_FTP_KILLS:-20}"

[ "$(id -u)" = 0 ] || { echo "ftp.sh needs root" >&2; exit 1; }
for tool in vsftpd openssl curl; do
    command -v "$tool" >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends vsftpd openssl curl >/dev/null; break; }
done

work="$(mktemp -d "${TMPDIR:-/tmp}/godvision-ftp.XXXXXX")"
chmod 755 "$work"
user="gvftp$$"
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    umount "$work/small" 2>/dev/null || true
    userdel "$user" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# pure-ftpd and vsftpd exclude each other as packages, so the second is only unpacked.
pure="$work/pure"
mkdir -p "$pure/packages"
(cd "$pure/packages" && apt-get download -qq pure-ftpd pure-ftpd-common >/dev/null)
for package in "$pure"/packages/*.deb; do dpkg -x "$package" "$pure"; done
libraries="$(ldd "$pure/usr/sbin/pure-ftpd" | awk '/not found/ {print $1}')"
[ -z "$libraries" ] || { echo "pure-ftpd lacks: $libraries" >&2; exit 1; }

password="word-$RANDOM$RANDOM"
mkdir -p "$work/home/clips" "$work/small"
useradd --no-create-home --home-dir "$work/home" --shell /bin/sh "$user"
printf '%s:%s\n' "$user" "$password" | chpasswd
mount -t tmpfs -o size=8m,mode=0777 none "$work/small"
mkdir -p "$work/home/full"
mount --bind "$work/small" "$work/home/full"
trap 'umount "$work/home/full" 2>/dev/null || true; cleanup' EXIT
chown -R "$user" "$work/home"
chmod -R 0777 "$work/home"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost 2>/dev/null
cat "$work/key.pem" "$work/cert.pem" > "$work/both.pem"
chmod 600 "$work/both.pem"
fingerprint="$(openssl x509 -in "$work/cert.pem" -outform der | sha256sum | cut -d' ' -f1)"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    echo "nothing listens on port $1" >&2
    return 1
}

# Both log in by PAM or their own database; neither prints the password.
printf 'auth required pam_unix.so\naccount required pam_unix.so\n' > "/etc/pam.d/$user"
trap 'umount "$work/home/full" 2>/dev/null || true; rm -f "/etc/pam.d/$user"; cleanup' EXIT
vsftpd_conf() {
    cat > "$work/vsftpd-$1.conf" <<CONF
listen=YES
listen_address=127.0.0.1
listen_port=$2
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
local_umask=000
file_open_mode=0666
chroot_local_user=YES
allow_writeable_chroot=YES
pam_service_name=$user
secure_chroot_dir=$work/empty
pasv_address=127.0.0.1
max_per_ip=0
seccomp_sandbox=NO
xferlog_enable=NO
CONF
    if [ "$1" = tls ]; then
        cat >> "$work/vsftpd-$1.conf" <<CONF
ssl_enable=YES
rsa_cert_file=$work/cert.pem
rsa_private_key_file=$work/key.pem
force_local_logins_ssl=YES
force_local_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
CONF
    fi
}
mkdir -p "$work/empty"
start_vsftpd() {
    vsftpd "$work/vsftpd-$1.conf" >"$work/vsftpd-$1.log" 2>&1 &
    last=$!
    pids+=("$last")
}
vs_plain="$(free_port)" vs_tls="$(free_port)"
vsftpd_conf plain "$vs_plain"; start_vsftpd plain; vsftpd_pid="$last"; wait_for "$vs_plain"
vsftpd_conf tls "$vs_tls"; start_vsftpd tls; wait_for "$vs_tls"

uid="$(id -u "$user")" gid="$(id -g "$user")"
for account in cam full; do
    quota=(); [ "$account" = full ] && quota=(-N 8)
    printf '%s\n%s\n' "$password" "$password" |
        "$pure/usr/bin/pure-pw" useradd "$account" -f "$work/pure.passwd" -u "$uid" -g "$gid" -d "$work/pure-$account" -C 64 "${quota[@]}" >/dev/null
    mkdir -p "$work/pure-$account/clips"
    chown -R "$user" "$work/pure-$account"
    chmod -R 0777 "$work/pure-$account"
done
"$pure/usr/bin/pure-pw" mkdb "$work/pure.pdb" -f "$work/pure.passwd"
start_pure() {
    "$pure/usr/sbin/pure-ftpd" -S "127.0.0.1,$1" -l "puredb:$work/pure.pdb" -A -E -H -U 000:000 -u 1 -c 50 -C 50 \
        -2 "$work/both.pem" -n 1000000:1000000 "${@:2}" >"$work/pure-$1.log" 2>&1 &
    pids+=($!)
}
pu_plain="$(free_port)" pu_tls="$(free_port)"
start_pure "$pu_plain" -Y 1; wait_for "$pu_plain"
start_pure "$pu_tls" -Y 3; wait_for "$pu_tls"

export GODVISION_FTP_VSFTPD="ftp://$user:$password@127.0.0.1:$vs_plain/clips $work/home/clips"
export GODVISION_FTP_VSFTPD_TLS="ftps://$user:$password@127.0.0.1:$vs_tls/clips?fingerprint=$fingerprint $work/home/clips"
export GODVISION_FTP_PUREFTPD="ftp://cam:$password@127.0.0.1:$pu_plain/clips $work/pure-cam/clips"
export GODVISION_FTP_PUREFTPD_TLS="ftps://cam:$password@127.0.0.1:$pu_tls/clips?fingerprint=$fingerprint $work/pure-cam/clips"
export GODVISION_FTP_VSFTPD_FULL="ftp://$user:$password@127.0.0.1:$vs_plain/full $work/home/full"
export GODVISION_FTP_PUREFTPD_FULL="ftp://full:$password@127.0.0.1:$pu_plain/clips $work/pure-full/clips"

echo "behaviour against vsftpd and pure-ftpd"
export GODVISION_FTP_BIG_FILE="$work/big"
head -c $((96 << 20)) /dev/urandom > "$work/big"
# Files that the tests plant must be writable for the servers' user.
umask 000
cargo test -q -p godvision-ftp --features real-servers --test real_servers -- --test-threads 4 --skip throughput_is_printed

echo "throughput, one file of 96 MiB, beside curl -T of the same"
rate() { # median of five: URL and options of curl
    for round in 1 2 3 4 5; do
        curl -sS -T "$work/big" "$@" --ftp-create-dirs -o /dev/null -w '%{speed_upload} %{time_total}\n'
    done | sort -n | awk 'NR==3 {printf "%.1f MB/s median of 5\n", $1 / 1e6}'
}
cargo test -q -p godvision-ftp --features real-servers --test real_servers -- --nocapture --exact throughput_is_printed |
    tee "$work/ours" | grep '^godvision'
plain="$(rate "ftp://$user:$password@127.0.0.1:$vs_plain/clips/curl/big")"
tls="$(rate -k --ssl-reqd "ftp://$user:$password@127.0.0.1:$vs_tls/clips/curl/big")"
echo "curl GODVISION_FTP_VSFTPD $plain"
echo "curl GODVISION_FTP_VSFTPD_TLS $tls"
# Printed, not judged: the machine is shared, and one slow minute must not fail a build.
ratio() { awk -v ours="$(awk -v key="$1" '$2 == key {print $3}' "$work/ours")" -v theirs="${2%% *}" 'BEGIN {
    printf "ratio to curl: %.2f (the bar is 0.8)\n", ours / theirs }'; }
ratio GODVISION_FTP_VSFTPD "$plain"
ratio GODVISION_FTP_VSFTPD_TLS "$tls"
rm -rf "$work/home/clips/"*

echo "killed with -9 $kills times while recording and uploading"
cargo build -q -p godvision-ftp --example spool_torture
torture="$CARGO_TARGET_DIR/debug/examples/spool_torture"
url="ftp://$user:$password@127.0.0.1:$vs_plain/clips"
for round in $(seq "$kills"); do
    "$torture" run "$work/spool" "$url" "$work/acked" >>"$work/torture.log" 2>&1 &
    victim=$!
    if [ $((round % 5)) = 0 ]; then
        # The server dies with every connection, and comes back.
        sleep "0.$((RANDOM % 9))"
        pkill -9 -P "$vsftpd_pid" || true
        kill -9 "$vsftpd_pid"
        wait "$vsftpd_pid" 2>/dev/null || true
        sleep 0.3
        start_vsftpd plain
        vsftpd_pid="$last"
        wait_for "$vs_plain"
    fi
    sleep "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
    kill -9 "$victim" 2>/dev/null || { echo "it ended by itself:" >&2; tail -5 "$work/torture.log" >&2; exit 1; }
    wait "$victim" 2>/dev/null || true
    "$torture" check "$work/spool" "$work/home/clips" "$work/acked"
done
"$torture" finish "$work/spool" "$url" "$work/acked" >>"$work/torture.log" 2>&1
"$torture" check "$work/spool" "$work/home/clips" "$work/acked" | tee "$work/last"
grep -q 'waiting here: 0$' "$work/last"
echo "recoveries after the kills: $(grep -c '^opened' "$work/torture.log"), clips saved from the middle: $(awk '/^opened/ {n += $2} END {print n}' "$work/torture.log")"
if grep -rq "$password" "$work/torture.log" "$work/spool"; then echo "the password is in a log" >&2; exit 1; fi
echo "ftp: all well"

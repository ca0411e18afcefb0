#!/bin/sh
# Runs a program in an image's files as a pod does: the root read-only, /tmp and the spool alone writable, settings
# mounted, user 10001 without capabilities, the first process. Wants root, and namespaces of its own (`unshare`).
#
#   read_only.sh ROOT SETTINGS SPOOL NAME=VALUE... PROGRAM ARGUMENT...
set -eu
root=$1 settings=$2 spool=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/tmp"
mount --bind "$settings" "$root/etc/ingest-actors/settings"
mount --bind "$spool" "$root/var/lib/ingest-actors"
mount -o remount,bind,ro "$root/etc/ingest-actors/settings"
mount -o remount,bind,ro "$root"
if touch "$root/opt/app/written" 2>/dev/null; then
    echo "the root is not read-only" >&2
    exit 1
fi
exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    env -i -C /srv PATH=/opt/app/bin:/usr/bin:/bin "$@"

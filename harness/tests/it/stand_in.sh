#!/bin/sh
# Stands in for the daemon where only its process matters: says that it listens (it does not), and stays.
# Its last argument says how it behaves. A child of its own checks that nothing of its process group survives it.
case "$*" in
*--fail) echo 'no such luck' >&2; exit 3 ;;
*--stubborn) trap '' TERM ;;
*--ends-badly) trap 'exit 4' TERM ;;
*) trap 'exit 0' TERM ;;
esac
client=127.0.0.1:2
case "$*" in
*--client-at=*) client=${*##*--client-at=} ;;
esac
sleep 60 &
echo $! > child
case "$*" in
*--panics) echo "thread 'main' panicked at src/main.rs:1:1:" >&2 ;;
esac
echo '{"event":"role","node":1,"role":"follower","term":1,"leader":null}' >&2
echo '{"event":"listening","peer":"127.0.0.1:1","client":"'"$client"'"}' >&2
# Not for longer than its child, lest it stay for ever when a test is killed.
wait

#!/bin/sh
# Print compose.env.example with a new secret for each empty variable:  (umask 077; sh deploy/secrets.sh > .env)
set -eu

secret() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }

while IFS= read -r line; do
    case $line in
        ORDERSAGA_SIGNING_KEYS=) echo "${line}$(date +%Y%m%d):$(secret)" ;;
        [A-Z]*=) echo "${line}$(secret)" ;;
        *) echo "$line" ;;
    esac
done < "$(dirname "$0")/compose.env.example"

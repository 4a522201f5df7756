#!/bin/sh
# One database for each domain, owned by a role of its own and closed to everybody else. Again it changes nothing but
# passwords, to those in the environment. psql finds the server as always: PGHOST, PGPORT, PGPASSWORD …
set -eu

for domain in orders inventory payments; do
    variable=$(echo "$domain" | tr '[:lower:]' '[:upper:]')_PASSWORD
    eval "password=\${$variable:-}"
    if [ -z "$password" ]; then
        echo "databases.sh: $variable is not set; give the role $domain a password of its own" >&2
        exit 1
    fi
    ROLE_PASSWORD=$password psql --username="${POSTGRES_USER:-postgres}" --dbname=postgres --no-psqlrc --quiet \
        --set=ON_ERROR_STOP=1 --set=role="$domain" --set=database="ordersaga_$domain" <<'SQL'
\getenv password ROLE_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I ENCODING UTF8 TEMPLATE template0', :'database', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
done

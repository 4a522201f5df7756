#!/bin/sh
# Create a database for each domain, owned by its own role and closed to all others, and a read-only role for the web's
# pages on stock and ledger. A second run changes only the passwords, to those in the environment.
# psql finds the server as usual: PGHOST, PGPORT, PGPASSWORD …
set -eu

# Run the SQL of standard input as the superuser in the database $1; further arguments are options of psql.
ask() {
    database=$1
    shift
    psql --username="${POSTGRES_USER:-postgres}" --dbname="$database" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@"
}

# Create the role $1 with the password in the variable named after it.
role() {
    variable=$(echo "$1" | tr '[:lower:]' '[:upper:]')_PASSWORD
    eval "password=\${$variable:-}"
    if [ -z "$password" ]; then
        echo "databases.sh: $variable is not set; set a password for the role $1" >&2
        exit 1
    fi
    ROLE_PASSWORD=$password ask postgres --set=role="$1" <<'SQL'
\getenv password ROLE_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SQL
}

for domain in orders inventory payments; do
    role "$domain"
    ask postgres --set=role="$domain" --set=database="ordersaga_$domain" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I ENCODING UTF8 TEMPLATE template0', :'database', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
done

role reader
ask postgres <<'SQL'
ALTER ROLE reader SET default_transaction_read_only = on;
SQL
for domain in inventory payments; do
    ask "ordersaga_$domain" --set=owner="$domain" --set=database="ordersaga_$domain" <<'SQL'
GRANT CONNECT ON DATABASE :"database" TO reader;
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO reader;
SQL
done

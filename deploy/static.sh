#!/bin/sh
# Collect the static files of production. An image is built without secrets, and the settings require some:
# these placeholders open no connection and are not stored.
set -eu

secret=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')
export ORDERSAGA_ENV=production ORDERSAGA_DOTENV="" ORDERSAGA_SECRET_KEY="$secret" ORDERSAGA_SIGNING_KEYS="build:$secret"
export ORDERSAGA_BROKER_URL=amqp://nobody@nowhere// ORDERSAGA_ORDERS_DATABASE_URL=postgresql://nobody@nowhere/none
export ORDERSAGA_INVENTORY_DATABASE_URL=postgresql://nobody@nowhere/none
export ORDERSAGA_PAYMENTS_DATABASE_URL=postgresql://nobody@nowhere/none
exec python manage.py collectstatic --noinput

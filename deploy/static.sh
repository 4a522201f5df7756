#!/bin/sh
# Collect the static files of production while an image is built, where no secret is at hand: the settings ask for some,
# nothing is reached with these, and nothing of them stays.
set -eu

secret=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')
export ORDERSAGA_ENV=production ORDERSAGA_DOTENV="" ORDERSAGA_SECRET_KEY="$secret" ORDERSAGA_SIGNING_KEYS="build:$secret"
export ORDERSAGA_BROKER_URL=amqp://nobody@nowhere// ORDERSAGA_ORDERS_DATABASE_URL=postgresql://nobody@nowhere/none
export ORDERSAGA_INVENTORY_DATABASE_URL=postgresql://nobody@nowhere/none
export ORDERSAGA_PAYMENTS_DATABASE_URL=postgresql://nobody@nowhere/none
exec python manage.py collectstatic --noinput

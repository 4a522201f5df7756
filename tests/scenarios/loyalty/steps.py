"""The loyalty participant gives a point for each shipped order."""

from __future__ import annotations

import os

from sqlalchemy import text
from sqlalchemy.orm import Session

from ordersaga import Batch, Participant
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.sql.schema import create
from workers.signals import StockShipped

URL = "LOYALTY_DATABASE_URL"
SCHEMA = [*create(), 'CREATE TABLE point (saga_id uuid PRIMARY KEY, "order" text NOT NULL)']
GIVE = text('INSERT INTO point (saga_id, "order") VALUES (:saga, :order)')

loyalty = participant = Participant(
    "loyalty", database=SQLAlchemyDatabase(os.environ.get(URL, "postgresql://loyalty@127.0.0.1/loyalty"))
)


@loyalty.step
def give_point(shipped: Batch[StockShipped], db: Session) -> None:
    db.execute(GIVE, [{"saga": saga, "order": signal.order} for saga, signal in shipped.items()])

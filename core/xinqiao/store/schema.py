"""The two databases as SQLAlchemy knows them: records, and keys in one of their own."""

from sqlalchemy import MetaData

metadata = MetaData()
key_metadata = MetaData()

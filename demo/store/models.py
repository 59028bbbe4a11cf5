"""Database tables. Amounts are in euro cents."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKey, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of every table."""


class Produit(Base):
    __tablename__ = "produits"

    id: Mapped[int] = mapped_column(primary_key=True)
    nom: Mapped[str] = mapped_column(String(100))
    categorie: Mapped[str] = mapped_column(String(50))
    prix_centimes: Mapped[int]
    fiche: Mapped[str] = mapped_column(Text)  # product sheet, as JSON text


class Magasin(Base):
    __tablename__ = "magasins"

    id: Mapped[int] = mapped_column(primary_key=True)
    nom: Mapped[str] = mapped_column(String(100))
    ville: Mapped[str] = mapped_column(String(100))


class Stock(Base):
    __tablename__ = "stocks"

    magasin_id: Mapped[int] = mapped_column(ForeignKey("magasins.id"), primary_key=True)
    produit_id: Mapped[int] = mapped_column(ForeignKey("produits.id"), primary_key=True)
    quantite: Mapped[int]


class Vente(Base):
    __tablename__ = "ventes"

    id: Mapped[int] = mapped_column(primary_key=True)
    magasin_id: Mapped[int] = mapped_column(ForeignKey("magasins.id"))
    produit_id: Mapped[int] = mapped_column(ForeignKey("produits.id"))
    quantite: Mapped[int]
    montant_centimes: Mapped[int] = mapped_column(BigInteger)
    vendue_le: Mapped[datetime] = mapped_column(DateTime(timezone=True))

"""Deterministic sample data, inserted once in an empty database."""

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text

from store.models import Base, Magasin, Produit, Stock, Vente

Row = dict[str, Any]

NB_PRODUITS = 500
NB_MAGASINS = 20
NB_VENTES = 60_000
HISTORY_DAYS = 365
CORRUPT_SHEET_EVERY = 50
SEED_LOCK_KEY = 720_531

CATEGORIES = ("epicerie", "boissons", "hygiene", "maison", "jardin", "papeterie", "jouets", "textile")
VILLES = (
    "Paris", "Lyon", "Marseille", "Toulouse", "Nice", "Nantes", "Montpellier", "Strasbourg", "Bordeaux", "Lille",
    "Rennes", "Reims", "Toulon", "Grenoble", "Dijon", "Angers", "Nimes", "Brest", "Tours", "Limoges",
)


def _fiche(produit_id: int, categorie: str) -> str:
    """Return a product sheet; some were truncated by an old import."""
    fiche = json.dumps({"reference": f"REF-{produit_id:05d}", "rayon": categorie, "garantie_mois": 12 + produit_id % 24})
    return fiche[:-10] if produit_id % CORRUPT_SHEET_EVERY == 0 else fiche


def _produits(rng: random.Random) -> list[Row]:
    rows: list[Row] = []
    for produit_id in range(1, NB_PRODUITS + 1):
        categorie = CATEGORIES[produit_id % len(CATEGORIES)]
        rows.append({
            "id": produit_id,
            "nom": f"Produit {produit_id:03d}",
            "categorie": categorie,
            "prix_centimes": rng.randint(99, 49_999),
            "fiche": _fiche(produit_id, categorie),
        })
    return rows


def _magasins() -> list[Row]:
    return [{"id": i, "nom": f"Magasin {ville}", "ville": ville} for i, ville in enumerate(VILLES, start=1)]


def _stocks(rng: random.Random) -> list[Row]:
    return [
        {"magasin_id": magasin_id, "produit_id": produit_id, "quantite": rng.randint(50_000, 500_000)}
        for magasin_id in range(1, NB_MAGASINS + 1)
        for produit_id in range(1, NB_PRODUITS + 1)
    ]


def _ventes(rng: random.Random, produits: list[Row], until: datetime) -> list[Row]:
    rows: list[Row] = []
    for _ in range(NB_VENTES):
        produit = rng.choice(produits)
        quantite = rng.randint(1, 9)
        rows.append({
            "magasin_id": rng.randint(1, NB_MAGASINS),
            "produit_id": produit["id"],
            "quantite": quantite,
            "montant_centimes": quantite * produit["prix_centimes"],
            "vendue_le": until - timedelta(minutes=rng.randrange(HISTORY_DAYS * 24 * 60)),
        })
    return rows


def _lock(connection: Connection) -> None:
    """Let one process at a time create and fill the tables."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEED_LOCK_KEY})


def seed_once(engine: Engine) -> None:
    """Create the tables and insert the sample data unless already there."""
    with engine.connect() as connection:
        _lock(connection)
        Base.metadata.create_all(connection)
        if connection.execute(select(Magasin.id).limit(1)).first() is None:
            rng = random.Random(2024)
            produits = _produits(rng)
            connection.execute(insert(Produit), produits)
            connection.execute(insert(Magasin), _magasins())
            connection.execute(insert(Stock), _stocks(rng))
            connection.execute(insert(Vente), _ventes(rng, produits, datetime.now(timezone.utc)))
        connection.commit()

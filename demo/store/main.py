"""HTTP endpoints of the store API."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, status
from sqlalchemy import func, select, update

from store.auth import require_token
from store.db import engine, open_session
from store.models import Magasin, Produit, Stock, Vente
from store.schemas import MAX_ID, LigneRapport, LigneStock, ProduitLu, StockMagasin, VenteCreee, VenteDemandee
from store.seed import seed_once

IdInPath = Annotated[int, Path(alias="id", ge=1, le=MAX_ID)]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    seed_once(engine)
    yield
    engine.dispose()


app = FastAPI(title="Store API", lifespan=lifespan)
api = APIRouter(prefix="/api", dependencies=[Depends(require_token)])


def not_found(what: str) -> HTTPException:
    return HTTPException(status.HTTP_404_NOT_FOUND, f"unknown {what}")


@app.get("/sante")
async def sante() -> dict[str, str]:
    return {"statut": "ok"}


@api.get("/produits/{id}")
def lire_produit(produit_id: IdInPath) -> ProduitLu:
    with open_session() as session:
        produit = session.get(Produit, produit_id)
        if produit is None:
            raise not_found("produit")
        return ProduitLu.model_validate(produit)


@api.get("/produits/{id}/fiche")
def lire_fiche(produit_id: IdInPath) -> dict[str, Any]:
    """Return the product sheet, stored as JSON text."""
    with open_session() as session:
        fiche = session.scalar(select(Produit.fiche).where(Produit.id == produit_id))
    if fiche is None:
        raise not_found("produit")
    return json.loads(fiche)


@api.get("/magasins/{id}/stock")
def lire_stock(magasin_id: IdInPath) -> StockMagasin:
    query = (
        select(Stock.produit_id, Produit.nom, Produit.categorie, Stock.quantite)
        .join(Produit, Produit.id == Stock.produit_id)
        .where(Stock.magasin_id == magasin_id)
        .order_by(Stock.produit_id)
    )
    with open_session() as session:
        magasin = session.get(Magasin, magasin_id)
        if magasin is None:
            raise not_found("magasin")
        lignes = [LigneStock(**row) for row in session.execute(query).mappings()]
        return StockMagasin(magasin_id=magasin.id, nom=magasin.nom, ville=magasin.ville, lignes=lignes)


@api.get("/ventes/rapport")
def rapport_ventes(jours: Annotated[int | None, Query(ge=1, le=365)] = None) -> list[LigneRapport]:
    """Sum the sales by store and category, over all time or the last `jours` days."""
    query = (
        select(
            Magasin.nom.label("magasin"),
            Produit.categorie,
            func.count().label("nombre_ventes"),
            func.sum(Vente.quantite).label("quantite"),
            func.sum(Vente.montant_centimes).label("montant_centimes"),
        )
        .join(Magasin, Magasin.id == Vente.magasin_id)
        .join(Produit, Produit.id == Vente.produit_id)
        .group_by(Magasin.nom, Produit.categorie)
        .order_by(Magasin.nom, Produit.categorie)
    )
    if jours is not None:
        query = query.where(Vente.vendue_le >= datetime.now(timezone.utc) - timedelta(days=jours))
    with open_session() as session:
        return [LigneRapport(**row) for row in session.execute(query).mappings()]


@api.post("/ventes", status_code=status.HTTP_201_CREATED)
def creer_vente(demande: VenteDemandee) -> VenteCreee:
    """Record a sale and take its quantity out of the stock, atomically."""
    take_stock = (
        update(Stock)
        .where(Stock.magasin_id == demande.magasin_id, Stock.produit_id == demande.produit_id)
        .where(Stock.quantite >= demande.quantite)
        .values(quantite=Stock.quantite - demande.quantite)
    )
    with open_session() as session:
        # The write comes first, so the transaction never upgrades a stale read.
        taken = session.execute(take_stock).rowcount == 1
        produit = session.get(Produit, demande.produit_id)
        if produit is None:
            raise not_found("produit")
        if session.get(Magasin, demande.magasin_id) is None:
            raise not_found("magasin")
        if not taken:
            raise HTTPException(status.HTTP_409_CONFLICT, "insufficient stock")
        vente = Vente(
            **demande.model_dump(),
            montant_centimes=demande.quantite * produit.prix_centimes,
            vendue_le=datetime.now(timezone.utc),
        )
        session.add(vente)
        session.flush()
        creee = VenteCreee.model_validate(vente)
        session.commit()
        return creee


app.include_router(api)

"""Request and response bodies."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_ID = 2**31 - 1

Identifiant = Annotated[int, Field(ge=1, le=MAX_ID)]


class ProduitLu(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    nom: str
    categorie: str
    prix_centimes: int


class LigneStock(BaseModel):
    produit_id: int
    nom: str
    categorie: str
    quantite: int


class StockMagasin(BaseModel):
    magasin_id: int
    nom: str
    ville: str
    lignes: list[LigneStock]


class LigneRapport(BaseModel):
    magasin: str
    categorie: str
    nombre_ventes: int
    quantite: int
    montant_centimes: int


class VenteDemandee(BaseModel):
    magasin_id: Identifiant
    produit_id: Identifiant
    quantite: int = Field(ge=1, le=1_000_000)


class VenteCreee(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    magasin_id: int
    produit_id: int
    quantite: int
    montant_centimes: int
    vendue_le: datetime

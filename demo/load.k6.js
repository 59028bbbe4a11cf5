// Store API load: 10 -> 30 -> 60 -> 100 virtual users, then down.
// Run: k6 run -e BASE_URL=http://127.0.0.1:8000 load.k6.js
import http from 'k6/http';
import { check, sleep } from 'k6';

const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:8000';
const TOKEN = __ENV.STORE_TOKEN || 'secret-demo';
const NB_PRODUITS = 500;
const NB_MAGASINS = 20;
const CORRUPT_SHEET_EVERY = 50;

export const options = {
  stages: [
    { duration: '15s', target: 10 },
    { duration: '15s', target: 30 },
    { duration: '15s', target: 60 },
    { duration: '15s', target: 100 },
    { duration: '5s', target: 0 },
  ],
  thresholds: { checks: ['rate>0.99'] },
};

function between(min, max) {
  return min + Math.floor(Math.random() * (max - min + 1));
}

function get(path, name, token) {
  const headers = token ? { 'x-token': token } : {};
  return http.get(`${BASE_URL}${path}`, { headers, tags: { name } });
}

function postVente(vente) {
  const headers = { 'x-token': TOKEN, 'content-type': 'application/json' };
  return http.post(`${BASE_URL}/api/ventes`, JSON.stringify(vente), { headers, tags: { name: 'POST ventes' } });
}

function randomVente() {
  return { magasin_id: between(1, NB_MAGASINS), produit_id: between(1, NB_PRODUITS), quantite: between(1, 3) };
}

// [share in percent, expected status, request]
const MIX = [
  [45, 200, () => get(`/api/produits/${between(1, NB_PRODUITS)}`, 'produit', TOKEN)],
  [20, 200, () => get(`/api/magasins/${between(1, NB_MAGASINS)}/stock`, 'stock', TOKEN)],
  [8, 200, () => get('/api/ventes/rapport', 'rapport', TOKEN)],
  [15, 201, () => postVente(randomVente())],
  [3, 401, () => get(`/api/produits/${between(1, NB_PRODUITS)}`, 'missing token', null)],
  [2, 403, () => get(`/api/produits/${between(1, NB_PRODUITS)}`, 'wrong token', 'not-the-token')],
  [3, 404, () => get(`/api/produits/${NB_PRODUITS + between(1, 500)}`, 'unknown produit', TOKEN)],
  [2, 422, () => postVente({ ...randomVente(), quantite: 0 })],
  [1, 404, () => get('/api/inconnu', 'unknown path', TOKEN)],
  [1, 500, () => get(`/api/produits/${CORRUPT_SHEET_EVERY * between(1, NB_PRODUITS / CORRUPT_SHEET_EVERY)}/fiche`, 'corrupt fiche', TOKEN)],
];

function pick() {
  let rest = Math.random() * 100;
  for (const entry of MIX) {
    rest -= entry[0];
    if (rest < 0) return entry;
  }
  return MIX[0];
}

export default function () {
  const [, expected, send] = pick();
  check(send(), { 'expected status': (response) => response.status === expected });
  sleep(between(50, 150) / 1000);
}

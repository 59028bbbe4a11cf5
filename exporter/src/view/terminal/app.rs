//! What the keys change.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    columns::Column,
    data::Data,
    rows::{Choice, Level, Row, Target, rows},
};
use crate::view::scrape::Scrape;

/// The state of the screen.
#[derive(Debug, Default)]
pub struct App {
    live: Data,
    /// What was live when the screen was frozen.
    frozen: Option<Data>,
    /// What is shown.
    pub level: Level,
    /// Where Esc leads, and the row that was chosen there.
    back: Vec<(Level, Option<Target>)>,
    /// What rows are sorted by.
    pub sort: Column,
    /// Whether they are the other way around.
    pub is_reversed: bool,
    /// Part of a name.
    pub filter: String,
    /// Whether the filter is being typed.
    pub is_typing: bool,
    /// Whether the keys are explained.
    pub is_help: bool,
    /// Why the last scrape could not be had.
    pub failure: Option<String>,
    /// The chosen row, and where it was.
    selected: Option<Target>,
    place: usize,
    /// The first row on the screen.
    pub first: usize,
    /// The columns that were drawn last, and how many rows there was place for.
    pub columns: Vec<Column>,
    /// How many rows there was place for then.
    pub places: usize,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The screen is drawn again.
    Draw,
    /// That was it.
    Quit,
}

// === impl App ===

impl App {
    /// What is shown: the newest, or what was when the screen was frozen.
    pub fn data(&self) -> &Data {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// Whether what is shown stays.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Takes a scrape, or why there is none.
    pub fn take(&mut self, scrape: anyhow::Result<Scrape>) {
        match scrape {
            Ok(scrape) => {
                self.live.take(scrape);
                self.failure = None;
            }
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }

    /// The rows, for the place that there was last.
    pub fn rows(&self) -> Vec<Row> {
        rows(
            self.data(),
            &Choice {
                level: &self.level,
                sort: self.sort,
                is_reversed: self.is_reversed,
                filter: &self.filter,
                places: self.places,
            },
        )
    }

    /// Which of the rows is chosen: the same as before, wherever it is now.
    pub fn chosen(&mut self, rows: &[Row]) -> usize {
        let same = rows.iter().position(|row| Some(&row.target) == self.selected.as_ref());
        self.place = same.unwrap_or(self.place).min(rows.len().saturating_sub(1));
        // The chosen row is on the screen.
        if self.place < self.first {
            self.first = self.place;
        }
        if self.place >= self.first + self.places {
            self.first = self.place + 1 - self.places.max(1);
        }
        self.first = self.first.min(rows.len().saturating_sub(self.places));
        self.place
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Quit,
                _ => Next::Draw,
            };
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Next::Draw;
        }
        if self.is_help {
            self.is_help = false;
            return match key.code {
                KeyCode::Char('q') => Next::Quit,
                _ => Next::Draw,
            };
        }
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('?' | 'h') => self.is_help = true,
            KeyCode::Char(' ') => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(self.live.clone()),
                }
            }
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Left | KeyCode::Char('<') => self.sort_by_next(-1),
            KeyCode::Right | KeyCode::Char('>') => self.sort_by_next(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-(self.places as isize)),
            KeyCode::PageDown => self.step(self.places as isize),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Enter => self.enter(),
            KeyCode::Esc | KeyCode::Backspace => self.leave(),
            KeyCode::Tab => self.switch(),
            _ => {}
        }
        Next::Draw
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }

    fn sort_by_next(&mut self, step: isize) {
        let count = self.columns.len() as isize;
        let now = self.columns.iter().position(|column| *column == self.sort).unwrap_or(0) as isize;
        if count > 0 {
            self.sort = self.columns[(now + step).rem_euclid(count) as usize];
        }
    }

    fn step(&mut self, step: isize) {
        let rows = self.rows();
        let place = (self.chosen(&rows) as isize).saturating_add(step).max(0) as usize;
        self.choose(&rows, place);
    }

    fn choose(&mut self, rows: &[Row], place: usize) {
        self.place = place.min(rows.len().saturating_sub(1));
        self.selected = rows.get(self.place).map(|row| row.target.clone());
    }

    fn enter(&mut self) {
        let rows = self.rows();
        let place = self.chosen(&rows);
        let Some(row) = rows.get(place) else {
            return;
        };
        let level = match &row.target {
            Target::Service(service) | Target::More(service, _) => Level::Service(service.clone()),
            Target::Route(route) => Level::Route(route.clone()),
            Target::Status(_) => return,
        };
        self.back.push((self.level.clone(), Some(row.target.clone())));
        self.show(level, None);
    }

    fn leave(&mut self) {
        match self.back.pop() {
            Some((level, selected)) => self.show(level, selected),
            None => self.filter.clear(),
        }
    }

    fn switch(&mut self) {
        let level = match self.level {
            Level::Routes => Level::Services,
            _ => Level::Routes,
        };
        self.back.clear();
        self.show(level, None);
    }

    fn show(&mut self, level: Level, selected: Option<Target>) {
        self.level = level;
        self.selected = selected;
        (self.place, self.first) = (0, 0);
    }
}

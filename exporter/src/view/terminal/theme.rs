//! Colours, or none.

use ratatui::style::{Color, Modifier, Style};

use crate::view::phase::PHASES;

/// The colours of the phases, in their order. Letters say the same.
const PHASE_COLORS: [Color; PHASES.len()] = [
    Color::Magenta,
    Color::Red,
    Color::Green,
    Color::Blue,
    Color::Cyan,
    Color::Gray,
];

/// How things look.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Whether there are colours. Without, nothing is said by colour alone.
    pub is_coloured: bool,
}

// === impl Theme ===

impl Theme {
    /// As the environment wants it: <https://no-color.org>.
    pub fn from_environment() -> Self {
        Self {
            is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    fn color(self, color: Color) -> Style {
        match self.is_coloured {
            true => Style::new().fg(color),
            false => Style::new(),
        }
    }

    /// A part of a bar.
    pub fn phase(self, place: usize) -> Style {
        match self.is_coloured {
            true => Style::new().fg(Color::Black).bg(PHASE_COLORS[place]),
            false => Style::new(),
        }
    }

    /// What matters.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What does not.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Above the columns, and at the bottom.
    pub fn heading(self) -> Style {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// The row that is chosen, and what has to be seen.
    pub fn marked(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What is wrong.
    pub fn bad(self) -> Style {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What may be wrong.
    pub fn odd(self) -> Style {
        self.color(Color::Yellow)
    }

    /// A plot.
    pub fn plot(self) -> Style {
        self.color(Color::Green)
    }
}

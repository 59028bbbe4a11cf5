//! Templates behind which another one can never match.

use super::{Segment, Template};

impl Template {
    /// Whether every path that `other` matches is matched by this template, too. `false`: not, or it is not seen here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.segments.iter();
        for segment in &self.segments {
            let next = others.next();
            if let Segment::Rest { may_be_empty } = segment {
                return next.is_some_and(|next| *may_be_empty || others.len() > 0 || !next.may_be_empty());
            }
            if !next.is_some_and(|next| segment.covers(next)) {
                return false;
            }
        }
        others.next().is_none()
    }
}

impl Segment {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(other)) => one == other,
            (Self::Any, other) => !other.may_be_empty() && !matches!(other, Self::Rest { .. }),
            (Self::Pattern(one), Self::Literal(other)) => {
                one.is_match(other.text.as_bytes())
                    && other.encoded.as_ref().is_none_or(|text| one.is_match(text.as_bytes()))
            }
            (Self::Pattern(one), Self::Pattern(other)) => one.as_str() == other.as_str(),
            (Self::Literal(_) | Self::Pattern(_), _) | (Self::Rest { .. }, _) => false,
        }
    }

    fn may_be_empty(&self) -> bool {
        match self {
            Self::Literal(literal) => literal.text.is_empty(),
            Self::Rest { may_be_empty } => *may_be_empty,
            Self::Any | Self::Pattern(_) => false,
        }
    }
}

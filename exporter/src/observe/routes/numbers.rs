//! The numbers of routes: a slot, and how often it was given before.
//!
//! A number that was taken back is never given again: what still comes under it, from a connection that waited or from a map that
//! nobody has looked at since, is nobody's.

use vigie_ebpf::traced::ROUTES;

use super::Route;

/// How many bits of a number are the slot.
const SLOT_BITS: u32 = 16;

const _: () = assert!(ROUTES == 1 << SLOT_BITS);

/// The routes by number.
#[derive(Debug)]
pub struct Numbers {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    route: Option<Route>,
}

/// The slot of a number.
pub fn slot(number: u32) -> usize {
    (number & ((1 << SLOT_BITS) - 1)) as usize
}

// === impl Numbers ===

impl Numbers {
    /// These routes, with the numbers from 0 on.
    pub fn new(reserved: impl IntoIterator<Item = Route>) -> Self {
        let slots = reserved.into_iter().map(|route| Slot {
            generation: 0,
            route: Some(route),
        });
        Self {
            slots: slots.collect(),
            free: Vec::new(),
        }
    }

    /// Gives a route a number. `None`: all are given.
    pub fn add(&mut self, route: Route) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            let slot = self.slots.get_mut(number as usize)?;
            slot.route = Some(route);
            return Some(slot.generation << SLOT_BITS | number);
        }
        if self.slots.len() >= ROUTES {
            return None;
        }
        let number = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            generation: 0,
            route: Some(route),
        });
        Some(number)
    }

    /// Whether another route can have a number.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= ROUTES
    }

    /// Takes a number back.
    pub fn remove(&mut self, number: u32) -> Option<Route> {
        let slot = self.slots.get_mut(slot(number))?;
        if slot.generation != number >> SLOT_BITS {
            return None;
        }
        let route = slot.route.take()?;
        slot.generation = (slot.generation + 1) & (u32::MAX >> SLOT_BITS);
        self.free.push(number & ((1 << SLOT_BITS) - 1));
        Some(route)
    }

    /// The route of a number, if it still has it.
    pub fn get(&self, number: u32) -> Option<&Route> {
        let slot = self.slots.get(slot(number))?;
        slot.route.as_ref().filter(|_| slot.generation == number >> SLOT_BITS)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Route> {
        let slot = self.slots.get_mut(slot(number))?;
        slot.route.as_mut().filter(|_| slot.generation == number >> SLOT_BITS)
    }

    /// All routes with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Route)> {
        (0..).zip(&self.slots).filter_map(|(place, slot): (u32, _)| {
            let route = slot.route.as_ref()?;
            Some((slot.generation << SLOT_BITS | place, route))
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

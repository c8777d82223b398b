//! An opcode and the modifiers after it, taken one by one; what is left over is unknown.

use crate::inst::{Round, Space, Ty};

/// `base.modifier.modifier`, as a set from which forms take what they know.
pub(crate) struct Opcode<'a> {
    pub(crate) text: &'a str,
    pub(crate) base: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Opcode<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut parts = text.split('.');
        let base = parts.next().unwrap_or(text);
        Self { text, base, rest: parts.collect() }
    }

    /// Takes a modifier if it is there.
    pub(crate) fn take(&mut self, modifier: &str) -> bool {
        let found = self.rest.iter().position(|part| *part == modifier);
        if let Some(at) = found {
            self.rest.remove(at);
        }
        found.is_some()
    }

    /// Takes the first modifier that the function knows.
    pub(crate) fn take_if<T>(&mut self, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) =
            self.rest.iter().enumerate().find_map(|(at, part)| Some((at, f(part)?)))?;
        self.rest.remove(at);
        Some(value)
    }

    /// Takes the first type.
    pub(crate) fn ty(&mut self) -> Option<Ty> {
        self.take_if(Ty::parse)
    }

    /// Takes a rounding modifier of floats.
    pub(crate) fn round(&mut self) -> Option<Round> {
        self.take_if(|part| {
            Some(match part {
                "rn" => Round::Nearest,
                "rna" => Round::Away,
                "rz" => Round::Zero,
                "rm" => Round::Down,
                "rp" => Round::Up,
                _ => return None,
            })
        })
    }

    /// Takes a state space; none written means generic.
    pub(crate) fn space(&mut self) -> Space {
        self.take_if(|part| {
            Some(match part {
                "global" => Space::Global,
                "shared" | "shared::cta" => Space::Shared,
                "shared::cluster" => Space::Cluster,
                "local" => Space::Local,
                "param" | "param::entry" => Space::Param,
                "const" => Space::Const,
                _ => return None,
            })
        })
        .unwrap_or(Space::Generic)
    }

    /// What nothing took.
    pub(crate) fn left(&self) -> Option<&'a str> {
        self.rest.first().copied()
    }
}

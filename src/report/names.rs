//! Gives every stage of a document a name of its own, safe to print: two series or two test cases of one name make a
//! reader refuse or drop one of them. Must not look at anything but names.

use super::escape;
use std::collections::{HashMap, HashSet};

/// The names given so far.
#[derive(Debug)]
pub(super) struct Names {
    seen: HashMap<String, usize>,
    taken: HashSet<String>,
}

impl Names {
    /// For things of these names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Names {
        let mut seen = HashMap::new();
        for name in names {
            *seen.entry(escape::terminal(name).into_owned()).or_insert(0) += 1;
        }
        Names { seen, taken: HashSet::new() }
    }

    /// The name; where several share it, with what tells them apart; where even that is shared, with a number.
    pub(super) fn take(&mut self, name: &str, apart: Option<&str>) -> String {
        let name = escape::terminal(name).into_owned();
        let shared = self.seen.get(&name).is_some_and(|&count| count > 1);
        let base = match apart.filter(|_| shared) {
            Some(apart) => format!("{name} ({})", escape::terminal(apart)),
            None => name,
        };
        let mut own = base.clone();
        let mut number = 1;
        while !self.taken.insert(own.clone()) {
            number += 1;
            own = format!("{base} #{number}");
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_kept_where_they_are_alone_and_told_apart_where_not() {
        let given = [("load", "a"), ("load", "b"), ("parse", "c"), ("load", "b"), ("line\n", "d")];
        let mut names = Names::new(given.iter().map(|(name, _)| *name));
        let own: Vec<String> = given.iter().map(|(name, id)| names.take(name, Some(id))).collect();
        assert_eq!(own, ["load (a)", "load (b)", "parse", "load (b) #2", r"line\n"]);
    }
}

//! The rules of `rules.txt`: what the fields are.
//!
//! Promise: the longest name wins, so that a rule can be told from the file alone.

use std::collections::HashMap;

use crate::class::Class;
use crate::text::Unseen;

const RULES: &str = include_str!("rules.txt");

/// The rules by the name that they give.
pub(crate) struct Rules {
    /// Classes, and whether a field has asked for them.
    classes: HashMap<&'static str, (Class, bool)>,
    /// Objects that bring something into view.
    pub(crate) present: Vec<(&'static str, Unseen)>,
}

impl Rules {
    /// Reads them. What is no rule, or the second for a name, is a fault.
    pub(crate) fn read(faults: &mut Vec<String>) -> Rules {
        let mut rules = Rules { classes: HashMap::new(), present: Vec::new() };
        for line in RULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let (name, class) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match Class::from_words(class, words.next()) {
                Some(Class::Present(unseen)) => rules.present.push((name, unseen)),
                Some(class) if !rules.classes.contains_key(name) => _ = rules.classes.insert(name, (class, false)),
                Some(_) => faults.push(format!("`{name}` has two rules")),
                None => faults.push(format!("`{line}` is no rule")),
            }
        }
        rules
    }

    /// The class that the longest name gives.
    pub(crate) fn class(&mut self, family: &str, path: &str, kind: &str) -> Option<Class> {
        let path = path.replace("[]", "");
        let kind = if kind == "integers" { ":integers" } else { "" };
        let mut rest = path.as_str();
        loop {
            for name in [format!("{family}:{rest}{kind}"), format!("{rest}{kind}")] {
                if let Some((class, is_used)) = self.classes.get_mut(name.as_str()) {
                    *is_used = true;
                    return Some(*class);
                }
            }
            rest = rest.split_once('.')?.1;
        }
    }

    /// Rules that no field has asked for, or no place of the tree has.
    pub(crate) fn unused(&self, is_present: impl Fn(Unseen) -> bool) -> Vec<String> {
        let is_unused = |(name, (_, is_used)): (&&'static str, &(Class, bool))| (!is_used).then_some(*name);
        let classes = self.classes.iter().filter_map(is_unused);
        let present = self.present.iter().filter(|(_, unseen)| !is_present(*unseen)).map(|(name, _)| *name);
        classes.chain(present).map(|name| format!("rule `{name}`: no field")).collect()
    }
}

//! The fields of all operations as one tree, each with its class: `fields.txt` held against `rules.txt`.
//!
//! Promise: a string is found in as many steps as it is deep; what is not in the tree has the class of nobody.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::LazyLock;

use wire::endpoint::{Endpoint, Method, rows};

use crate::class::Class;
use crate::rules::Rules;
use crate::text::{Origin, Unseen};

const FIELDS: &str = include_str!("fields.txt");

/// Whose messages examples hold.
const CHAT: &str = "/v1/chat/completions";

/// Members of a line of a batch, besides the body.
const BATCH_MEMBERS: [(&str, Class); 3] =
    [("custom_id", Class::Loose(Origin::Aside)), ("method", Class::Word), ("url", Class::Word)];

/// Members of an example to train on, and the member of a chat completion that looks the same.
const EXAMPLE_MEMBERS: [(&str, &str); 5] = [
    ("messages", "messages"),
    ("tools", "tools"),
    ("functions", "functions"),
    ("preferred_output", "messages"),
    ("non_preferred_output", "messages"),
];

/// A place in a body, by number.
pub(crate) type NodeId = u32;

/// The place that is in no table: what is below it is there, too.
pub(crate) const UNKNOWN: NodeId = 0;

/// A place in a body.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Members by name, in the order of [`by_length`].
    keys: Vec<(&'static str, NodeId)>,
    /// Any other member.
    any: NodeId,
    /// An element.
    pub(crate) element: NodeId,
    /// What a string is here.
    pub(crate) class: Option<Class>,
    /// Whether an array of integers is text as tokens.
    pub(crate) tokens: bool,
    /// Whether it is an object with a role.
    pub(crate) has_role: bool,
    /// Whether an array here holds the parts of a message.
    pub(crate) has_parts: bool,
    /// What a value here brings into view.
    pub(crate) present: Option<Unseen>,
    /// The place around, and how this one is called there.
    parent: NodeId,
    step: &'static str,
}

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Table {
    nodes: Vec<Node>,
    /// The outermost place of each operation that takes a body, by its path: all are POST.
    roots: HashMap<&'static str, NodeId>,
    /// Lines of batches, by the path that they ask for.
    batch_lines: HashMap<&'static str, NodeId>,
    /// Lines of other files.
    example_line: NodeId,
    /// Fields without a rule, and rules without a field; a test holds that there are none.
    pub(crate) faults: Vec<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::build(FIELDS));

impl Table {
    /// The table of the API, built once.
    pub(crate) fn shared() -> &'static Table {
        &TABLE
    }

    /// The outermost place of an endpoint's body.
    pub(crate) fn root(&self, endpoint: &Endpoint) -> NodeId {
        if endpoint.method != Method::Post {
            return UNKNOWN;
        }
        self.roots.get(endpoint.path).copied().unwrap_or(UNKNOWN)
    }

    /// The place of a form's field: `image[]`, `expires_after[anchor]`.
    pub(crate) fn field(&self, root: NodeId, name: &str) -> NodeId {
        let (key, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
        let mut at = self.child(root, key).0;
        while let Some((step, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            at = if step.is_empty() { self.node(at).element } else { self.child(at, step).0 };
            rest = after;
        }
        if rest.is_empty() { at } else { UNKNOWN }
    }

    /// A line of a batch that asks for this operation.
    pub(crate) fn batch_line(&self, endpoint: Option<&Endpoint>) -> NodeId {
        endpoint.and_then(|endpoint| self.batch_lines.get(endpoint.path).copied()).unwrap_or(UNKNOWN)
    }

    /// A line of a file to train on or to evaluate with.
    pub(crate) fn example_line(&self) -> NodeId {
        self.example_line
    }

    /// A place.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The member of that name, and whether any name would have done.
    pub(crate) fn child(&self, parent: NodeId, key: &str) -> (NodeId, bool) {
        let node = self.node(parent);
        match node.keys.binary_search_by(|(known, _)| by_length(known, key)) {
            Ok(at) => (node.keys[at].1, false),
            Err(_) => (node.any, node.any != UNKNOWN),
        }
    }

    /// The name of a place: `messages[].content`.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let (mut steps, mut at) = (Vec::new(), id);
        while at != UNKNOWN && !self.node(at).step.is_empty() {
            steps.push(self.node(at).step);
            at = self.node(at).parent;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            if !path.is_empty() && *step != "[]" {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    fn build(fields: &'static str) -> Table {
        let mut faults = Vec::new();
        let mut rules = Rules::read(&mut faults);
        let mut table = Table { nodes: vec![Node::default()], ..Table::default() };
        let families: HashMap<&str, &str> = rows().map(|row| (row.path, row.family)).collect();
        let (mut root, mut family) = (UNKNOWN, "");
        for line in fields.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some(field) = line.strip_prefix("  ") else {
                let path = line.split(' ').nth(1).unwrap_or_default();
                root = table.add(UNKNOWN, "");
                table.roots.insert(path, root);
                family = families.get(path).copied().unwrap_or_default();
                continue;
            };
            let (path, kind) = field.split_once(' ').unwrap_or((field, ""));
            let class = rules.class(family, path, kind);
            if class.is_none() && kind != "choice" {
                faults.push(format!("{family}: {path} ({kind}) has no rule"));
            }
            table.insert(root, path, kind, class);
        }
        table.add_lines();
        table.settle(&rules);
        let is_present = |unseen: Unseen| table.nodes.iter().any(|node| node.present == Some(unseen));
        faults.extend(rules.unused(is_present));
        table.faults = faults;
        table
    }

    fn add(&mut self, parent: NodeId, step: &'static str) -> NodeId {
        self.nodes.push(Node { parent, step, ..Node::default() });
        (self.nodes.len() - 1) as NodeId
    }

    fn step(&mut self, at: NodeId, step: &'static str) -> NodeId {
        let node = self.node(at);
        let known = match step {
            "[]" => node.element,
            "*" | "**" => node.any,
            key => node.keys.iter().find(|(known, _)| *known == key).map_or(UNKNOWN, |(_, id)| *id),
        };
        if known != UNKNOWN {
            return known;
        }
        let new = self.add(at, step);
        let node = &mut self.nodes[at as usize];
        match step {
            "[]" => node.element = new,
            "*" | "**" => node.any = new,
            key => node.keys.push((key, new)),
        }
        new
    }

    fn insert(&mut self, root: NodeId, path: &'static str, kind: &str, class: Option<Class>) {
        let mut at = root;
        for step in steps(path) {
            at = self.step(at, step);
            if step == "**" {
                let (parent, class) = (self.node(at).parent, class.unwrap_or(Class::Word));
                let around = &mut self.nodes[parent as usize];
                // What may be anything may be a string or an array of them.
                around.class.get_or_insert(class);
                if around.element == UNKNOWN {
                    around.element = at;
                }
                let node = &mut self.nodes[at as usize];
                (node.any, node.element) = (at, at);
            }
        }
        let node = &mut self.nodes[at as usize];
        if kind == "integers" {
            node.tokens |= class == Some(Class::Tokens);
        } else {
            // What may be one of a list of words only needs no rule.
            let word = (kind == "choice").then_some(Class::Word);
            node.class = class.or(word).or(node.class);
        }
    }

    /// The lines of files, which the document does not have: they hold bodies and messages that it has.
    fn add_lines(&mut self) {
        let roots: Vec<(&'static str, NodeId)> = self.roots.iter().map(|(path, root)| (*path, *root)).collect();
        for (path, body) in roots {
            let line = self.add(UNKNOWN, "");
            for (key, class) in BATCH_MEMBERS {
                let leaf = self.step(line, key);
                self.nodes[leaf as usize].class = Some(class);
            }
            self.nodes[line as usize].keys.push(("body", body));
            self.batch_lines.insert(path, line);
        }
        let chat = self.roots.get(CHAT).copied().unwrap_or(UNKNOWN);
        let (line, input) = (self.add(UNKNOWN, ""), self.add(UNKNOWN, "input"));
        for (key, class) in [("prompt", Origin::Input), ("completion", Origin::Replay)] {
            let leaf = self.step(line, key);
            self.nodes[leaf as usize].class = Some(Class::Text(class));
        }
        for (key, of_chat) in EXAMPLE_MEMBERS {
            let member = self.step(chat, of_chat);
            self.nodes[line as usize].keys.push((key, member));
            self.nodes[input as usize].keys.push((key, member));
        }
        self.nodes[line as usize].keys.push(("input", input));
        self.example_line = line;
    }

    /// What can be told only when all fields are there.
    fn settle(&mut self, rules: &Rules) {
        for id in 0..self.nodes.len() {
            let path = self.path(id as NodeId).replace("[]", "");
            // Members are not in order yet.
            let class = |id: NodeId, key: &str| {
                let member = self.node(id).keys.iter().find(|(known, _)| *known == key);
                member.and_then(|(_, child)| self.node(*child).class)
            };
            let has_role = class(id as NodeId, "role") == Some(Class::Role);
            let is_content = path.rsplit('.').next().is_some_and(|step| ["content", "output"].contains(&step));
            let text = class(self.nodes[id].element, "text");
            let has_parts = is_content && matches!(text, Some(Class::ByRole | Class::Text(_)));
            let node = &mut self.nodes[id];
            (node.has_role, node.has_parts) = (has_role, has_parts);
            node.present = rules.present.iter().find(|(name, _)| *name == path).map(|(_, unseen)| *unseen);
            node.keys.sort_unstable_by(|(one, _), (other, _)| by_length(one, other));
        }
    }
}

/// Short names first: most comparisons read no name at all.
fn by_length(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl Node {
    /// Whether a string here is a part of a message, or its text.
    pub(crate) fn is_part(&self) -> bool {
        matches!(self.step, "text" | "[]")
    }

    /// Whether it is an object with known members.
    pub(crate) fn has_members(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// The steps of a path: `a[].b` is `a`, `[]`, `b`.
fn steps(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('.').flat_map(|segment| {
        let key = segment.trim_end_matches("[]");
        let arrays = (segment.len() - key.len()) / 2;
        std::iter::once(key).chain(std::iter::repeat_n("[]", arrays))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_parts_and_lists_of_other_things_have_none() {
        let table = Table::shared();
        let has_parts = |path: &str, keys: &[&str]| {
            let at = keys.iter().fold(table.roots[path], |at, key| match *key {
                "[]" => table.node(at).element,
                key => table.child(at, key).0,
            });
            assert_ne!(at, UNKNOWN, "{keys:?}");
            table.node(at).has_parts
        };
        assert!(has_parts("/v1/chat/completions", &["messages", "[]", "content"]));
        assert!(has_parts("/v1/responses", &["input", "[]", "content"]));
        assert!(has_parts("/v1/responses", &["input", "[]", "output"]));
        assert!(has_parts("/v1/threads/{thread_id}/messages", &["content"]));
        assert!(!has_parts("/v1/chat/completions", &["messages"]));
        assert!(!has_parts("/v1/chat/completions", &["tools"]));
        assert!(!has_parts("/v1/responses", &["input"]));
        assert!(!has_parts("/v1/embeddings", &["input"]));
        assert!(!has_parts("/v1/completions", &["prompt"]));
    }

    #[test]
    fn every_field_has_a_rule_and_every_rule_a_field() {
        let mut faults = Table::shared().faults.clone();
        faults.sort();
        assert_eq!(faults, Vec::<String>::new());
    }
}

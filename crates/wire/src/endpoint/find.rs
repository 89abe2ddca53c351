//! From method and path to a row: one hash look-up for paths without parameters, a walk over segments for the rest.
//!
//! Promise: finding a row allocates nothing, and its work is bounded by the table, not by the path.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Endpoint, Method, Opens, rows};

/// Most parameters of one path.
const PARAMS_MAX: usize = 4;

/// A row, its number, and the path's parameters.
#[derive(Debug)]
pub struct Found<'p> {
    /// The row.
    pub endpoint: &'static Endpoint,
    /// Its number, below [`super::count`].
    pub number: usize,
    /// Parameters, as they stand in the path.
    pub params: Params<'p>,
}

/// Path parameters: names and raw segments, still percent-encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'p> {
    pairs: [(&'static str, &'p str); PARAMS_MAX],
    count: usize,
}

/// Segments that stand where a path has parameters.
#[derive(Default)]
struct Values<'p> {
    segments: [&'p str; PARAMS_MAX],
    count: usize,
}

impl<'p> Values<'p> {
    fn push(&mut self, segment: &'p str) -> bool {
        let Some(slot) = self.segments.get_mut(self.count) else { return false };
        *slot = segment;
        self.count += 1;
        true
    }
}

impl<'p> Params<'p> {
    /// The parameters from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'p str)> + '_ {
        self.pairs[..self.count].iter().copied()
    }
}

/// Why no row was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// No row has this path.
    Path,
    /// Rows have this path, none with this method.
    Method {
        /// The methods that they have.
        allowed: Vec<Method>,
    },
}

/// The rows of one path: (method, number, row, parameter names).
#[derive(Debug, Default)]
struct Leaf {
    rows: Vec<(Method, usize, &'static Endpoint, Vec<&'static str>)>,
}

#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<&'static str, Node>,
    any: Option<Box<Node>>,
    leaf: Leaf,
}

struct Router {
    /// Paths without parameters.
    whole: HashMap<&'static str, Leaf>,
    root: Node,
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let mut router = Router { whole: HashMap::new(), root: Node::default() };
    for (number, endpoint) in rows().enumerate() {
        let mut names = Vec::new();
        let mut node = &mut router.root;
        for segment in endpoint.path[1..].split('/') {
            node = match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    names.push(name);
                    node.any.get_or_insert_default()
                }
                None => node.fixed.entry(segment).or_default(),
            };
        }
        if names.is_empty() {
            router.whole.entry(endpoint.path).or_default().rows.push((endpoint.method, number, endpoint, Vec::new()));
        }
        node.leaf.rows.push((endpoint.method, number, endpoint, names));
    }
    router
});

/// Rows that a signature opens, with their numbers. None has a parameter.
static SIGNED: LazyLock<Vec<(usize, &'static Endpoint)>> =
    LazyLock::new(|| rows().enumerate().filter(|(_, row)| row.opens == Opens::Signature).collect());

/// Finds the row for a method and a checked path if a signature opens it: asked before there is a key to look at, for
/// every request, so it compares with those few rows only.
pub fn find_signed(method: &str, path: &str) -> Option<Found<'static>> {
    let is_meant = |(_, row): &&(usize, &Endpoint)| row.path == path && row.method.as_str() == method;
    let (number, endpoint) = SIGNED.iter().find(is_meant)?;
    Some(Found { endpoint, number: *number, params: Params::default() })
}

/// Finds the row for a method and a checked path.
///
/// Fixed segments win over parameters. Segments are compared as they stand: an encoded letter is another path.
///
/// # Errors
/// [`NotFound`], which tells an unknown path from an unknown method.
pub fn find<'p>(method: &str, path: &'p str) -> Result<Found<'p>, NotFound> {
    let router = &*ROUTER;
    if let Some(leaf) = router.whole.get(path) {
        return choose(leaf, method, &[]);
    }
    let segments = path.strip_prefix('/').ok_or(NotFound::Path)?;
    let mut values = Values::default();
    let leaf = walk(&router.root, segments, &mut values).ok_or(NotFound::Path)?;
    choose(leaf, method, &values.segments)
}

/// Goes down the tree, fixed segments first. The tree is shallow and has few forks, so going back is cheap.
fn walk<'p>(node: &'static Node, rest: &'p str, values: &mut Values<'p>) -> Option<&'static Leaf> {
    let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
    let go = |next: &'static Node, values: &mut Values<'p>| match after {
        Some(after) => walk(next, after, values),
        None => Some(&next.leaf).filter(|leaf| !leaf.rows.is_empty()),
    };
    if let Some(leaf) = node.fixed.get(segment).and_then(|next| go(next, values)) {
        return Some(leaf);
    }
    let next = node.any.as_deref().filter(|_| !segment.is_empty())?;
    if !values.push(segment) {
        return None;
    }
    let found = go(next, values);
    if found.is_none() {
        values.count -= 1;
    }
    found
}

fn choose<'p>(leaf: &'static Leaf, method: &str, values: &[&'p str]) -> Result<Found<'p>, NotFound> {
    let Some((_, number, endpoint, names)) = leaf.rows.iter().find(|(known, ..)| known.as_str() == method) else {
        return Err(NotFound::Method { allowed: leaf.rows.iter().map(|(method, ..)| *method).collect() });
    };
    let mut params = Params { count: names.len(), ..Params::default() };
    for (slot, pair) in params.pairs.iter_mut().zip(names.iter().zip(values)) {
        *slot = (pair.0, pair.1);
    }
    Ok(Found { endpoint, number: *number, params })
}

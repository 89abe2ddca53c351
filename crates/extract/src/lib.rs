//! Every text of a request, with its channel and its place.

//! Many rows in few statements.

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Sqlite as Driver, SqliteConnection, Type};
use store::StoreError;

use super::refused;

/// Rows of a statement, from many to few. Each statement is a message to the driver's thread and back, which costs as much
/// as writing some ten rows; few different lengths are few different statements, and those stay prepared. The longest
/// has 27,648 parameters (27 columns); SQLite takes 32,766.
const LENGTHS: [usize; 6] = [1_024, 256, 64, 16, 4, 1];

/// A slice in pieces, each a statement's.
pub(super) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|length| *length <= rest.len())?;
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        Some(piece)
    })
}

/// `head VALUES (…), (…) tail`, written out once for each length: sums of many series or names are tens of thousands of
/// values, and build no text.
pub(super) struct ManyRows {
    columns: usize,
    texts: [String; LENGTHS.len()],
}

/// Values of one statement.
pub(super) struct Values(Result<SqliteArguments, BoxDynError>);

impl Values {
    pub(super) fn push<'t>(&mut self, value: impl Encode<'t, Driver> + Type<Driver>) -> &mut Values {
        if let Ok(arguments) = &mut self.0
            && let Err(error) = Arguments::add(arguments, value)
        {
            self.0 = Err(error);
        }
        self
    }
}

impl ManyRows {
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> ManyRows {
        let tuple = format!("({})", vec!["?"; columns].join(", "));
        let texts = LENGTHS.map(|length| format!("{head} VALUES {} {tail}", vec![tuple.as_str(); length].join(", ")));
        ManyRows { columns, texts }
    }

    /// Runs it over all items.
    pub(super) async fn run<T>(
        &'static self,
        connection: &mut SqliteConnection,
        items: &[T],
        bind: impl Fn(&mut Values, &T),
    ) -> Result<(), StoreError> {
        for piece in pieces(items) {
            let place =
                LENGTHS.iter().position(|length| *length == piece.len()).expect("a piece has one of the lengths");
            let mut values = Values(Ok(SqliteArguments::default()));
            if let Ok(arguments) = &mut values.0 {
                arguments.reserve(piece.len() * self.columns, 0);
            }
            piece.iter().for_each(|item| bind(&mut values, item));
            let arguments = values.0.map_err(|error| refused(sqlx::Error::Encode(error)))?;
            let query = sqlx::query_with(self.texts[place].as_str(), arguments);
            query.execute(&mut *connection).await.map_err(refused)?;
        }
        Ok(())
    }
}

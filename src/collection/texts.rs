//! Texts written to a collection and searched for, through the embedder of its handle.

use std::sync::Arc;

use arrow_array::{ArrayRef, LargeStringArray, RecordBatch};
use arrow_schema::{Field, Schema as ArrowSchema};

use super::embed::{Candidate, Embedder};
use super::query::Query;
use super::work::Work;
use super::write;
use super::{Attributes, Collection, owned};
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::types::{DataType, Id, IdRef, Ids, Vectors};

/// How often ids are made anew when somebody else has just used them.
const ATTEMPTS: usize = 16;

impl Collection {
    /// The same collection, taking texts through `embedder`. The first embedder of a collection is
    /// remembered by the name of its model, and texts go to the first column declared as text, or
    /// to a new one called `text`. In a reader nothing is remembered.
    ///
    /// # Errors
    /// `SchemaMismatch` when the collection remembers another model or has another dimension, naming
    /// both; `InvalidArgument` for a collection of bits.
    pub fn with_embedder(&self, embedder: &Embedder) -> Result<Self> {
        let candidate = Candidate::of(embedder);
        let changed = candidate.join(&self.schema()?)?.is_some();
        if changed && !self.core().host.read_only {
            write::submit(self.writable()?, Work::Remember(candidate))?;
        }
        let mut collection = self.clone();
        collection.embedder = Some(embedder.clone());
        Ok(collection)
    }

    /// The embedder of this handle.
    ///
    /// # Errors
    /// `InvalidArgument` when it has none, naming the model that the collection remembers.
    pub fn embedder(&self) -> Result<&Embedder> {
        if let Some(embedder) = &self.embedder {
            return Ok(embedder);
        }
        let which = match self.schema()?.embedding() {
            Some(known) => format!("the embedder of model {:?}", known.model),
            None => "an embedder".into(),
        };
        Err(Error::invalid(format!(
            "collection {:?} was opened without an embedder and takes vectors only; to use texts, \
             open it with {which}",
            self.name()
        )))
    }

    /// Adds a row for each text: its vector is made by the embedder, its text goes to the embedded
    /// column, and `attributes` holds the other columns. Returns the ids, in order.
    ///
    /// Without `ids` they are made. In a collection of strings they are UUIDs of version 7, which
    /// ascend with time. Otherwise they are numbers: one more than the highest there is, from 1 on.
    ///
    /// # Errors
    /// As [`add`](Self::add); `Embed` when the embedder fails; `InvalidArgument` when the handle has
    /// none. Nothing is stored then.
    pub fn add_texts<'a, S: AsRef<str>>(
        &self,
        ids: Option<Ids<'_>>,
        texts: &[S],
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<Vec<Id>> {
        let attributes = attributes.into();
        let vectors = self.embed(ids.as_ref(), texts, attributes)?;
        self.put_embedded(false, ids, texts, &vectors, attributes)
    }

    /// As [`add_texts`](Self::add_texts), but rows whose ids exist are replaced; of an id given
    /// twice the last text wins.
    ///
    /// # Errors
    /// As [`add_texts`](Self::add_texts), but for `DuplicateId`.
    pub fn upsert_texts<'a, S: AsRef<str>>(
        &self,
        ids: Option<Ids<'_>>,
        texts: &[S],
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<Vec<Id>> {
        let attributes = attributes.into();
        let vectors = self.embed(ids.as_ref(), texts, attributes)?;
        self.put_embedded(true, ids, texts, &vectors, attributes)
    }

    /// Begins a search for the rows nearest to `text`, which is embedded at once. For many texts,
    /// search for what [`Embedder::embed_queries`] makes of them.
    ///
    /// What goes wrong, an embedder that fails or is missing, is answered by the query.
    pub fn search_text(&self, text: &str) -> Query<'static> {
        match self.embedder().and_then(|embedder| embedder.embed_queries(&[text])) {
            Ok(vector) => Query::new(self.snapshot(), Vectors::from(vector)),
            Err(error) => Query::new(Err(error), Vectors::from(Vec::<f32>::new())),
        }
    }

    /// Writes texts whose vectors are there already. For bindings, whose embedders raise exceptions.
    #[doc(hidden)]
    pub fn put_embedded<'a, S: AsRef<str>>(
        &self,
        replace: bool,
        ids: Option<Ids<'_>>,
        texts: &[S],
        vectors: &[f32],
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<Vec<Id>> {
        let attributes = attributes.into();
        self.check_texts(ids.as_ref(), texts.len(), attributes)?;
        let batch = self.with_texts(texts, attributes)?;
        let all = Attributes { batch: Some(&batch), ..attributes };
        let vectors = Vectors::from(vectors);
        if let Some(ids) = ids {
            let rows = self.prepare(&ids, &vectors, all)?;
            let work = if replace { Work::Upsert(rows) } else { Work::Add(rows) };
            write::submit(self.core(), attributes.with_columns(work))?;
            return Ok(ids.iter().map(IdRef::to_id).collect());
        }
        // Numbers that are handed out for nothing would leave gaps.
        self.given(texts.len(), all)?;
        let mut attempt = 0;
        loop {
            let ids = owned(&self.core().made_ids.make(&self.snapshot()?.view, texts.len())?);
            let rows = self.prepare(&ids, &vectors, all)?;
            attempt += 1;
            match write::submit(self.core(), attributes.with_columns(Work::Add(rows))) {
                Err(Error::DuplicateId { .. }) if attempt < ATTEMPTS => {}
                written => return written.map(|_rows| ids.iter().map(IdRef::to_id).collect()),
            }
        }
    }

    /// The vectors of texts, once nothing else is wrong with the batch.
    fn embed<S: AsRef<str>>(
        &self,
        ids: Option<&Ids<'_>>,
        texts: &[S],
        attributes: Attributes<'_>,
    ) -> Result<Vec<f32>> {
        self.check_texts(ids, texts.len(), attributes)?;
        self.embedder()?.embed_documents(texts)
    }

    /// Refuses a batch of texts that is wrong whatever their vectors are. For bindings.
    #[doc(hidden)]
    pub fn check_texts<'a>(
        &self,
        ids: Option<&Ids<'_>>,
        texts: usize,
        attributes: impl Into<Attributes<'a>>,
    ) -> Result<()> {
        self.writable()?;
        if let Some(ids) = ids.filter(|ids| ids.len() != texts) {
            let ids = ids.len();
            return Err(Error::invalid(format!("{ids} ids for {texts} texts; give one for each")));
        }
        let attributes = attributes.into();
        let Some(batch) = attributes.batch else { return Ok(()) };
        if batch.num_rows() != texts {
            let rows = batch.num_rows();
            return Err(Error::invalid(format!("{rows} rows of attributes for {texts} texts")));
        }
        let column = self.text_column()?;
        if batch.column_by_name(&column).is_some() {
            return Err(Error::invalid(format!(
                "column {column:?} is given twice: it is where the texts go; leave it out of the \
                 attributes"
            )));
        }
        self.given(texts, attributes).map(drop)
    }

    /// Where texts go.
    fn text_column(&self) -> Result<String> {
        self.embedder()?;
        match self.schema()?.embedding() {
            Some(known) => Ok(known.column.clone()),
            None => Err(Error::ReadOnly(format!("collection {:?}", self.name()))),
        }
    }

    /// The attributes with the texts as one more column.
    fn with_texts<S: AsRef<str>>(
        &self,
        texts: &[S],
        attributes: Attributes<'_>,
    ) -> Result<RecordBatch> {
        let column = Field::new(self.text_column()?, DataType::Utf8.to_arrow(), true);
        let mut fields = vec![Arc::new(column)];
        let texts = LargeStringArray::from_iter_values(texts.iter().map(AsRef::as_ref));
        let rows = arrow_array::Array::len(&texts);
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(texts)];
        if let Some(batch) = attributes.batch {
            fields.extend(batch.schema_ref().fields().iter().cloned());
            arrays.extend(batch.columns().iter().cloned());
        }
        columns::assemble(Arc::new(ArrowSchema::new(fields)), arrays, rows)
    }
}

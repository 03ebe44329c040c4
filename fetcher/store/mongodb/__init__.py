"""The store in MongoDB; `fetcher.store.mongo` has the driver.

Built on single-document atomicity, which every MongoDB has: a record's content, history, stamp
and observation are one document, replaced only if it is still the one that was merged with.
https://www.mongodb.com/docs/manual/core/write-operations-atomicity/
"""

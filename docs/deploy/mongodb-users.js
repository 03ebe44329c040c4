// Run once by the image of MongoDB, or by hand: mongosh -u root mongodb://HOST/fetcher mongodb-users.js
//
// Two roles with what is needed and no more, on the one database of the fetcher, and a user for each:
// https://www.mongodb.com/docs/manual/reference/privilege-actions/
// None of them may make or drop a database or a collection, change a validator, or see another database.
// A test holds every command that the fetcher sends to these lists: ../mongodb.md says more.
const may = {
  "fetcherWriter": ["createIndex", "find", "insert", "listIndexes", "remove", "update"],
  "fetcherReader": ["find"]
};
const users = {
  "fetcher": "fetcherWriter",
  "reader": "fetcherReader"
};
const fs = require("fs");
const password = (name) => fs.readFileSync("/run/secrets/mongodb-" + name, "utf8").trim();
const database = db.getSiblingDB("fetcher");
for (const [role, actions] of Object.entries(may)) {
  const everything = { db: "fetcher", collection: "" };
  database.createRole({ role: role, privileges: [{ resource: everything, actions: actions }], roles: [] });
}
for (const [user, role] of Object.entries(users)) {
  database.createUser({ user: user, pwd: password(user), roles: [{ role: role, db: "fetcher" }] });
}

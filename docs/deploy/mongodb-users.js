// Run once by the image of MongoDB, or by hand: mongosh -u root mongodb://HOST/fetcher mongodb-users.js
//
// What the fetcher may: read and write its one database, and make its indexes. What readers may: read
// it. https://www.mongodb.com/docs/manual/reference/built-in-roles/
const fs = require("fs");
const password = (name) => fs.readFileSync("/run/secrets/" + name, "utf8").trim();
const database = db.getSiblingDB("fetcher");
database.createUser({
  user: "fetcher",
  pwd: password("mongodb-fetcher"),
  roles: [{ role: "readWrite", db: "fetcher" }],
});
database.createUser({
  user: "reader",
  pwd: password("mongodb-reader"),
  roles: [{ role: "read", db: "fetcher" }],
});

export const start = () => console.log("the tables are there");

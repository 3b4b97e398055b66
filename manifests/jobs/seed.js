export const start = () => console.log("a thousand rows are in them");

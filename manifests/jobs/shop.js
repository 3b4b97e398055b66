export const start = () => console.log("open");
export const close = () => console.log("closed");

"""`faceserve eval detection`: how many faces of annotated photos a detector finds, and what it takes for one."""

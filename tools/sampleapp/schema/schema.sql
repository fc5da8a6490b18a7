-- The sample application's tables, one of each kind that the fence knows.
-- Every primary key begins with the user id. BUCKETS stands for the bucket
-- count of the map.

-- The application writes the bucket.
CREATE TABLE IF NOT EXISTS steps (
  bucket   INT UNSIGNED NOT NULL,
  user_id  VARBINARY(256) NOT NULL,
  day      DATE NOT NULL,
  steps    BIGINT NOT NULL,
  requests INT UNSIGNED NOT NULL,
  PRIMARY KEY (user_id, day),
  KEY (bucket)
) ENGINE=InnoDB;

-- The server computes the bucket.
CREATE TABLE IF NOT EXISTS request (
  bucket     INT UNSIGNED AS (CRC32(user_id) % BUCKETS) STORED,
  user_id    VARBINARY(256) NOT NULL,
  request_id VARBINARY(64) NOT NULL,
  day        DATE NOT NULL,
  steps      BIGINT NOT NULL,
  total      BIGINT NOT NULL COMMENT 'of the day, after this request',
  PRIMARY KEY (user_id, request_id),
  KEY (bucket)
) ENGINE=InnoDB;

-- No bucket at all.
CREATE TABLE IF NOT EXISTS profile (
  user_id        VARBINARY(256) NOT NULL,
  name           VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL,
  lifetime_steps BIGINT NOT NULL,
  updates        BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (user_id)
) ENGINE=InnoDB;

{{ config(materialized='view') }}

with

batches as (

    select * from {{ ref('int_landed_batches') }}

),

sends as (

    select * from {{ ref('stg_justai__sends') }}

),

variants as (

    select * from {{ ref('stg_justai__variants') }}

),

removed_variants as (

    select * from {{ source('justai', 'justai_variants_removed') }}

),

pending as (

    select batch_id
    from batches
    where is_pending

),

landed_copies as (

    select distinct copy_id
    from variants
    where batch_id in (select batch_id from pending)

),

hours as (

    select
        variants.copy_id,
        variants.valid_from_timestamp,
        count(pending.batch_id) as landed_count
    from variants
    inner join landed_copies
        on variants.copy_id = landed_copies.copy_id
    left join pending
        on variants.batch_id = pending.batch_id
    group by variants.copy_id, variants.valid_from_timestamp

),

-- what is said of an hour holds until something is said of a later one
spans as (

    select
        copy_id,
        valid_from_timestamp,
        landed_count,
        lead(valid_from_timestamp) over (partition by copy_id order by valid_from_timestamp) as valid_to_timestamp
    from hours

),

-- the key of a removed variant does not name its hour, so all sends of its copy may have changed
touched_spans as (

    select
        copy_id,
        valid_from_timestamp,
        valid_to_timestamp
    from spans
    where landed_count > 0

    union

    select
        copy_id,
        null as valid_from_timestamp,
        null as valid_to_timestamp
    from removed_variants
    where batch_id in (select batch_id from pending)

),

final as (

    select distinct
        sends.event_timestamp,
        sends.copy_id,
        sends.journey_id
    from sends
    inner join touched_spans
        on
            sends.copy_id = touched_spans.copy_id
            and (
                touched_spans.valid_from_timestamp is null
                or sends.event_timestamp >= touched_spans.valid_from_timestamp
            )
            and (
                touched_spans.valid_to_timestamp is null
                or sends.event_timestamp < touched_spans.valid_to_timestamp
            )

)

select * from final
